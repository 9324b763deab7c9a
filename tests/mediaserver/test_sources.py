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


HTTP = "an input of type http needs an address that begins with http:// or https://"
PORT = "the port in an address is a number from 1 to 65535"
CHARACTERS = "the address holds characters that no address has"


@pytest.mark.parametrize(
    ("kind", "url", "told"),
    [
        (InputType.HTTP, "", "the address is empty"),
        (InputType.HTTP, "file:///etc/passwd", HTTP),
        (InputType.HTTP, "rtmp://host/app/name", HTTP),
        (InputType.HTTP, "host/a", HTTP),
        (InputType.HTTP, "http:///a", "the address names no host"),
        (InputType.HTTP, "http:host/a", "the address names no host"),
        (InputType.RTMP, "rtmp://me:secret@/live/key", "the address names no host"),
        (InputType.SRT, "srt://:9000", "the address names no host"),
        (InputType.HTTP, "http://host:99999/a", PORT),
        (InputType.HTTP, "http://host:0/a", PORT),
        (InputType.HTTP, "http://host:secret/a", PORT),
        (InputType.HTTP, "http://[::1/a", "the address names a host that cannot be"),
        (InputType.HTTP, "http://host/a b", "an address holds no space: where one is meant it is written %20"),
        (InputType.HTTP, " http://host/a", "an address holds no space: where one is meant it is written %20"),
        (InputType.HTTP, "http://host/" + "x" * 5000, "an address has at most 4096 characters"),
        (InputType.HTTP, "http://host/\r\nX: y", CHARACTERS),
        (InputType.FILE, "a\nb", CHARACTERS),
        (InputType.RTMP, "concat:rtmp://host/a", "an input of type rtmp needs an address that begins with rtmp:// or rtmps://"),
        (InputType.RTSP, "http://host/a", "an input of type rtsp needs an address that begins with rtsp:// or rtsps://"),
        (InputType.SRT, "udp://host:1", "an input of type srt needs an address that begins with srt://"),
        (InputType.FILE, "http://host/a.mp4", "a file is named by its path"),
    ],
)
def test_addresses_that_cannot_be_are_refused_at_once_and_it_is_said_why(kind: InputType, url: str, told: str) -> None:
    with pytest.raises(Refused) as caught:
        address_of(PullSource(kind, url))
    assert caught.value.reason == told
