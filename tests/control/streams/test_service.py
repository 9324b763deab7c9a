"""What an address means: a push to this server, or something to fetch."""

import pytest

from control.errors import ControlError
from control.streams.kinds import StreamInput
from control.streams.service import pushed_key
from mediaserver.config import Config

#: A server behind the name that the asker gave.
HERE = Config.model_validate({"rtmp": {"host": "192.0.2.7"}})
ASKED = "myhost:8080"
NAMED = Config.model_validate({"server": {"public_url": "https://tv.example.org"}, "rtmp": {"port": 2935, "tls_port": 2936}})


@pytest.mark.parametrize(
    ("config", "url"),
    [
        (HERE, "rtmp://localhost/live/key"),
        (HERE, "rtmp://localhost:1935/live/key"),
        (HERE, "rtmp://127.0.0.1/live/key"),
        (HERE, "rtmp://[::1]:1935/live/key"),
        (HERE, "rtmp://192.0.2.7/live/key"),
        (HERE, "rtmp://myhost:1935/live/key"),
        (HERE, "rtmp://MyHost./live/key"),
        # Whoever takes the TLS off in front of us knows at which port.
        (HERE, "rtmps://myhost/live/key"),
        (NAMED, "rtmp://tv.example.org:2935/live/key"),
        # The usual port is where a container's is seen from outside.
        (NAMED, "rtmp://tv.example.org/live/key"),
        (NAMED, "rtmp://myhost:2935/live/key"),
        (NAMED, "rtmps://tv.example.org:2936/live/key"),
    ],
)
def test_our_own_address_is_pushed_to(config: Config, url: str) -> None:
    assert pushed_key(config, StreamInput.RTMP, url, ASKED) == "key"


@pytest.mark.parametrize(
    ("config", "url"),
    [
        (HERE, "rtmp://localhost:9999/live/key"),
        (HERE, "rtmp://myhost:8080/live/key"),
        (HERE, "rtmp://elsewhere/live/key"),
        (HERE, "rtmp://192.0.2.8/live/key"),
        (NAMED, "rtmps://tv.example.org/live/key"),
    ],
)
def test_any_other_address_or_port_is_fetched_from(config: Config, url: str) -> None:
    assert pushed_key(config, StreamInput.RTMP, url, ASKED) is None


@pytest.mark.parametrize("url", ["rtmp://myhost/other/key", "rtmp://myhost/live", "rtmp://myhost/live/a/b"])
def test_an_address_of_ours_that_leads_nowhere_is_refused(url: str) -> None:
    with pytest.raises(ControlError):
        pushed_key(HERE, StreamInput.RTMP, url, ASKED)


def test_who_is_refused_is_told_the_address_as_it_must_be() -> None:
    for there in ("rtmps://myhost", "rtmp://[::1]:1935"):
        with pytest.raises(ControlError) as refused:
            pushed_key(HERE, StreamInput.RTMP, f"{there.replace('//', '//me:secret@')}/other/key", ASKED)
        assert refused.value.details == {"fields": {"input_url": f"on this server it must be {there}/live/KEY"}}


@pytest.mark.parametrize("asked", ["", "myhost", "[2001:db8::1]:8080", "[", "a:b:c"])
def test_whatever_name_was_asked_for_is_ours_and_none_that_cannot_be_does_harm(asked: str) -> None:
    ours = {"myhost": asked, "[2001:db8::1]:8080": "[2001:db8::1]"}.get(asked, "localhost")
    assert pushed_key(HERE, StreamInput.RTMP, f"rtmp://{ours}/live/key", asked) == "key"
