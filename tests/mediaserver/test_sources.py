"""Which addresses may be fetched from, and what of them is shown."""

import pytest

from mediaserver.errors import Refused
from mediaserver.ports import InputType, PullSource
from mediaserver.sources import address_of


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        (PullSource(InputType.RTMP, "rtmp://me:secret@host.example/live/key"), "host.example"),
        (PullSource(InputType.RTSP, "rtsps://me:secret@[2001:db8::1]:8554/x"), "[2001:db8::1]:8554"),
        (PullSource(InputType.HLS, "HTTPS://Host.Example/secret/a.m3u8?token=secret"), "host.example"),
        (PullSource(InputType.SRT, "srt://host.example:9000?passphrase=secret"), "host.example:9000"),
        (PullSource(InputType.FILE, "/secret/folder/a.mp4"), "a.mp4"),
        (PullSource(InputType.FILE, "file:///secret/a.mp4"), "a.mp4"),
    ],
)
def test_an_address_is_shown_without_its_secrets(source: PullSource, shown: str) -> None:
    assert address_of(source) == shown
    assert "secret" not in repr(source)


@pytest.mark.parametrize(
    "source",
    [
        PullSource(InputType.HTTP, ""),
        PullSource(InputType.HTTP, "file:///etc/passwd"),
        PullSource(InputType.HTTP, "rtmp://host/app/name"),
        PullSource(InputType.HTTP, "http:///a"),
        PullSource(InputType.HTTP, "http://host:99999/a"),
        PullSource(InputType.HTTP, "http://[::1/a"),
        PullSource(InputType.HTTP, "http://host/a b"),
        PullSource(InputType.HTTP, "http://host/" + "x" * 5000),
        PullSource(InputType.HTTP, "http://host/\r\nX: y"),
        PullSource(InputType.RTMP, "concat:rtmp://host/a"),
        PullSource(InputType.RTSP, "http://host/a"),
        PullSource(InputType.SRT, "udp://host:1"),
        PullSource(InputType.FILE, "http://host/a.mp4"),
    ],
)
def test_addresses_that_cannot_be_are_refused_at_once(source: PullSource) -> None:
    with pytest.raises(Refused):
        address_of(source)
