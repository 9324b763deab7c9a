"""Who may publish, and what a log line of an event holds."""

import logging
from collections.abc import Callable

import pytest
from pydantic import SecretStr

from control.bridge import ConfigAuthorizer, ControlAuthorizer, LoggingSink
from control.db import DatabaseUnavailable
from mediaserver.config import AuthConfig
from mediaserver.errors import Refused
from mediaserver.events import (
    Event,
    PlayEnded,
    PlayStarted,
    PublisherLeft,
    PublishRefused,
    PublishStarted,
    PullChanged,
    RecordingFailed,
    RecordingFinished,
    RelayChanged,
    TranscodeChanged,
)
from mediaserver.ports import PlayRequest, PublishGrant, PublishRequest, Wire
from mediaserver.snapshot import RelayState

KEYS = {"main": SecretStr("k-main-canary"), "second": SecretStr("k-zweite-ü")}


def ask(key: str) -> PublishRequest:
    return PublishRequest("s-1", Wire.RTMP, "203.0.113.7", "live", key)


async def test_open_the_key_is_the_name() -> None:
    assert (await ConfigAuthorizer(AuthConfig()).may_publish(ask("my-show.1"))).name == "my-show.1"


@pytest.mark.parametrize("key", ["", "a/b", "..", "a..b", ".hidden", "a b", "ä", "\u202eevil", "a\x00", "x" * 129])
async def test_open_a_key_that_can_be_no_name_is_refused_in_words(key: str) -> None:
    with pytest.raises(Refused, match="no valid name: use letters") as refused:
        await ConfigAuthorizer(AuthConfig()).may_publish(ask(key))
    assert not key or key not in refused.value.reason


async def test_open_a_rendition_s_name_is_played_and_not_published() -> None:
    authorizer = ConfigAuthorizer(AuthConfig())
    with pytest.raises(Refused, match="names with @ are those of renditions"):
        await authorizer.may_publish(ask("show@720p"))
    asked = PlayRequest("s-1", Wire.RTMP, "203.0.113.7", "show@720p")
    assert (await authorizer.may_play(asked)).name == "show@720p"


@pytest.mark.parametrize(("key", "name"), [("k-main-canary", "main"), ("k-zweite-ü", "second")])
async def test_keys_the_key_tells_the_name(key: str, name: str) -> None:
    authorizer = ConfigAuthorizer(AuthConfig(publish="keys", stream_keys=KEYS))
    assert (await authorizer.may_publish(ask(key))).name == name


@pytest.mark.parametrize("key", ["main", "k-main-canar", "k-main-canary2", "K-MAIN-CANARY", "\udcff"])
async def test_keys_any_other_key_is_refused_a_name_too(key: str) -> None:
    authorizer = ConfigAuthorizer(AuthConfig(publish="keys", stream_keys=KEYS))
    with pytest.raises(Refused, match="unknown stream key"):
        await authorizer.may_publish(ask(key))


async def test_keys_no_key_at_all_is_told_so() -> None:
    with pytest.raises(Refused, match="required"):
        await ConfigAuthorizer(AuthConfig(publish="keys", stream_keys=KEYS)).may_publish(ask(""))


async def test_everybody_may_play_what_can_be_a_name() -> None:
    authorizer = ConfigAuthorizer(AuthConfig(publish="keys", stream_keys=KEYS))
    assert (await authorizer.may_play(PlayRequest("s-2", Wire.HLS, "203.0.113.9", "main"))).name == "main"
    with pytest.raises(Refused, match="no such stream"):
        await authorizer.may_play(PlayRequest("s-2", Wire.HLS, "203.0.113.9", "../main"))


async def test_a_database_that_does_not_answer_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """However its driver puts it."""

    class Away:
        async def by_key(self, _key: str, _now: float) -> PublishGrant | None:
            raise DatabaseUnavailable("ConnectionRefusedError: nobody\nlistens")

    authorizer = ControlAuthorizer(Away(), ConfigAuthorizer(AuthConfig()))  # type: ignore[arg-type]
    with pytest.raises(Refused, match="cannot look the key up now"):
        await authorizer.may_publish(ask("k-main-canary"))
    (record,) = caplog.records
    assert (record.levelname, record.getMessage(), record.exc_info) == ("WARNING", "key_not_looked_up", None)
    reason = vars(record)["facts"]["reason"]
    assert reason.startswith("the database does not answer: ConnectionRefusedError")
    assert reason.isprintable()


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[Event], dict[str, object]]:
    """The line that the sink writes for an event, as its name and facts."""
    caplog.set_level(logging.INFO, "control.bridge")

    def tell(event: Event) -> dict[str, object]:
        LoggingSink().emit(event)
        (record,) = caplog.records
        return {"event": record.getMessage(), **vars(record)["facts"]}

    return tell


def test_an_event_is_one_line_with_its_session(logged: Callable[[Event], dict[str, object]]) -> None:
    line = logged(PublishStarted("demo", "s-1", 1.0, Wire.RTMP, "203.0.113.7", "OBS/31", False))
    assert line == {
        "event": "publish_started",
        "name": "demo",
        "session_id": "s-1",
        "wire": "rtmp",
        "address": "203.0.113.7",
        "encoder": "OBS/31",
        "resumed": False,
    }


def test_figures_stay_figures(logged: Callable[[Event], dict[str, object]]) -> None:
    line = logged(PlayEnded("demo", "s-1", 1.0, "left", 12345, 1.23456))
    assert (line["bytes_out"], line["seconds"]) == (12345, 1.235)


def test_a_viewer_s_token_is_not_in_the_log(logged: Callable[[Event], dict[str, object]]) -> None:
    line = logged(PlayStarted("demo", "s-1", 1.0, Wire.HLS, "203.0.113.7", "a browser", "token-canary"))
    assert "token" not in line
    assert "token-canary" not in line.values()
    assert line["agent"] == "a browser"


def test_a_player_s_bytes_that_nobody_knows_are_not_in_the_log(logged: Callable[[Event], dict[str, object]]) -> None:
    assert "bytes_out" not in logged(PlayEnded("demo", "s-1", 1.0, "left", None, 1.0))


FAILURES = [
    RecordingFailed("demo", "", 1.0, "r-1", "no space left on device"),
    RelayChanged("demo", "", 1.0, "d-1", RelayState.BACKING_OFF, "it is refused; next try in 1.0 s"),
    RelayChanged("demo", "", 1.0, "d-1", RelayState.FAILED, "it is refused"),
    PullChanged("demo", "", 1.0, connected=False, reason="the source is silent", failed=True),
    PullChanged("demo", "", 1.0, connected=False, reason="no files may be pulled", over=True, failed=True),
    TranscodeChanged("demo", "", 1.0, (), "its process died (status -9) and is started again", failed=True),
]
OCCURRENCES = [
    PublishRefused("demo", "s-1", 1.0, "203.0.113.7", "unknown stream key"),
    PublisherLeft("demo", "s-1", 1.0, "it went away"),
    RecordingFinished("demo", "", 1.0, "r-1", "demo.mp4", 1, 1.0, True, "over"),
    *(
        RelayChanged("demo", "", 1.0, "d-1", state, "")
        for state in RelayState
        if state not in {RelayState.BACKING_OFF, RelayState.FAILED}
    ),
    PullChanged("demo", "", 1.0, connected=True, reason="connected"),
    PullChanged("demo", "", 1.0, connected=False, reason="all of it has been had", over=True),
    TranscodeChanged("demo", "", 1.0, ("720p",), "begun"),
]


@pytest.mark.parametrize(
    ("event", "level"), [*((event, "WARNING") for event in FAILURES), *((event, "INFO") for event in OCCURRENCES)], ids=repr
)
def test_what_the_server_could_not_do_is_a_warning(event: Event, level: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "control.bridge")
    LoggingSink().emit(event)
    (record,) = caplog.records
    assert record.levelname == level
    assert "failed" not in vars(record)["facts"]  # the level says so


def test_a_peer_cannot_forge_a_line_nor_fill_the_log(logged: Callable[[Event], dict[str, object]]) -> None:
    line = logged(
        PublishStarted("demo", "s-1", 1.0, Wire.RTMP, "203.0.113.7", "x\nevent=forged \x1b[31m\u202e" + "y" * 5000, True)
    )
    encoder = str(line["encoder"])
    assert encoder.isprintable()
    assert "\\u000a" in encoder
    assert len(encoder) < 300
