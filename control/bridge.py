"""Answers to the engine's two questions, from the stream rows and from the configuration; and its events as log lines."""

import dataclasses
import hmac
import logging
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from control.db import DatabaseUnavailable
from control.strangers import Strangers, UnknownKey
from control.streams.grants import Grants
from control.streams.onair import stream_id_of
from mediaserver.errors import Refused
from mediaserver.events import PullChanged, RecordingFailed, RelayChanged, TranscodeChanged
from mediaserver.ports import PlayGrant, PlayRequest, PublishGrant, PublishRequest, is_name, objection_to
from mediaserver.snapshot import RelayState

if TYPE_CHECKING:
    from mediaserver.config import AuthConfig
    from mediaserver.events import Event

log = logging.getLogger(__name__)

_WORD_START = re.compile(r"(?<!^)(?=[A-Z])")
#: Longest text from a peer (its encoder's name, say) that goes into a log line.
_MAX_TEXT = 200


class ConfigAuthorizer:
    """Who may publish is written in the table ``auth``; everybody may play.

    ``publish = "open"``: the stream key is the playback name. ``publish = "keys"``: the key must be one of
    ``auth.stream_keys``, and the name is the one it stands under.
    """

    def __init__(self, auth: "AuthConfig") -> None:
        keys = auth.stream_keys.items() if auth.publish == "keys" else None
        self._names = None if keys is None else {key.get_secret_value().encode(): name for name, key in keys}

    async def may_publish(self, request: PublishRequest) -> PublishGrant:
        if self._names is not None:
            return PublishGrant(self._named_by(request.key))
        if objection := objection_to(request.key):
            raise Refused(f"the stream key is no valid name: {objection}")
        return PublishGrant(request.key)

    def _named_by(self, key: str) -> str:
        # Every key is compared, each in constant time: how long the answer takes tells nothing about any of them.
        given, found = key.encode("utf-8", "replace"), ""
        for known, name in (self._names or {}).items():
            if hmac.compare_digest(known, given):
                found = name
        if not key:
            raise Refused("a stream key is required")
        if not found:
            raise UnknownKey
        return found

    async def may_play(self, request: PlayRequest) -> PlayGrant:
        if not is_name(request.name):
            raise Refused("no such stream")
        return PlayGrant(request.name)


class ControlAuthorizer:
    """Stream rows come first: whose key it is, decides. A key that is no row's is for the configuration to judge."""

    def __init__(self, grants: Grants, otherwise: ConfigAuthorizer, clock: Callable[[], float] = time.time) -> None:
        self._grants = grants
        self._otherwise = otherwise
        self._clock = clock
        self._strangers = Strangers()

    async def may_publish(self, request: PublishRequest) -> PublishGrant:
        if self._strangers.barred(request.address, self._clock()):
            raise Refused("too many wrong stream keys came from this address: try again in some minutes")
        try:
            return await self._granted(request)
        except UnknownKey:
            self._strangers.note(request.address, request.key, self._clock())
            raise

    async def _granted(self, request: PublishRequest) -> PublishGrant:
        try:
            grant = await self._grants.by_key(request.key, self._clock()) if request.key else None
        except DatabaseUnavailable as error:
            facts = {"session_id": request.session_id, "reason": _printable(f"the database does not answer: {error}")}
            log.warning("key_not_looked_up", extra={"facts": facts})
            raise Refused("the server cannot look the key up now") from None
        if grant is not None:
            return grant
        if stream_id_of(request.key) is not None:
            raise Refused("this name belongs to a stream of the API: push with its key")
        return await self._otherwise.may_publish(request)

    async def may_play(self, request: PlayRequest) -> PlayGrant:
        return await self._otherwise.may_play(request)


class LoggingSink:
    """One log line an event, named like it (``PublishStarted`` → ``publish_started``), without what is kept out of ``repr``.
    What the server could not do, or does no more, is a warning."""

    def emit(self, event: "Event") -> None:
        fields = (f for f in dataclasses.fields(event) if f.repr and f.name != "at")
        facts = {f.name: _printable(value) for f in fields if (value := getattr(event, f.name)) is not None}
        level = logging.WARNING if _is_failure(event) else logging.INFO
        log.log(level, _WORD_START.sub("_", type(event).__name__).lower(), extra={"facts": facts})


def _is_failure(event: "Event") -> bool:
    match event:
        case RecordingFailed():
            return True
        case RelayChanged(state=state):
            return state in {RelayState.BACKING_OFF, RelayState.FAILED}
        case PullChanged(failed=failed) | TranscodeChanged(failed=failed):
            return failed
        case _:
            return False


def _printable(value: object) -> object:
    """``value`` fit for a line of text: enums by value, peers' words cut short and without control or bidi characters."""
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, (bool, int)):
        return value
    text = str(getattr(value, "value", value))[:_MAX_TEXT]
    return text if text.isprintable() else "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)
