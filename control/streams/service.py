"""What a stream's row means to the engine. No web framework in here."""

import hmac
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from control.db import Row
from control.destinations.platforms import ADDRESSES, target_url
from control.destinations.sealed import open_address, read_address
from control.errors import ControlError, ErrorCode, invalid
from control.streams.kinds import AudioCodec, LatencyMode, Quality, StreamInput, VideoCodec
from control.streams.onair import playback_name, relay_id
from control.streams.own import is_own
from control.vault import Unreadable
from mediaserver.bitrates import usual_bitrate
from mediaserver.errors import Refused
from mediaserver.ports import (
    Codec,
    InputType,
    Ladder,
    Pacing,
    PublishGrant,
    PullSource,
    RecordingOrder,
    RelayTarget,
    Rung,
    objection_to,
)
from mediaserver.sources import address_of

if TYPE_CHECKING:
    from control.cipher import Cipher
    from control.destinations.schemas import DestinationCreate
    from mediaserver.config import Config

log = logging.getLogger(__name__)

#: Seconds, as they are shown where nobody asked for any.
KEYFRAME_INTERVAL = 2.0

INPUT_URL = "streams.input_url"
STREAM_KEY = "destinations.stream_key"

#: NORMAL is what the configuration says.
PACING: Mapping[LatencyMode, Pacing | None] = {
    LatencyMode.LOW: Pacing(segment_duration=1.0, part_duration=0.1, window=6),
    LatencyMode.NORMAL: None,
    LatencyMode.TUTORIAL: None,
    LatencyMode.HIGH: Pacing(segment_duration=6.0, part_duration=1.0, window=6),
}
_CODECS = {VideoCodec.H264: Codec.H264, VideoCodec.HEVC: Codec.HEVC, VideoCodec.AV1: Codec.AV1}
_SOUNDS = {AudioCodec.AAC: Codec.AAC}
_HEIGHTS = {quality: 0 if quality is Quality.SOUND else int(quality.value.removesuffix("p")) for quality in Quality}


def pushed_key(config: "Config", input_type: StreamInput, input_url: str, asked: str) -> str | None:
    """The stream key, if ``input_url`` is RTMP on this server's own address: a push to it is what is meant. None: it is fetched.

    ``asked`` is the name (and port) by which the asker reached this server. Raises ControlError (422) for an address here at
    which no stream can be.
    """
    if input_type is not StreamInput.RTMP:
        return None
    parts = urlsplit(input_url)
    if not is_own(config, parts, asked):
        return None
    app, _, key = parts.path.strip("/").partition("/")
    if app != config.rtmp.app or not key or "/" in key:
        here = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        raise invalid(input_url=f"on this server it must be {here}/{config.rtmp.app}/KEY")
    return key


def check_source(input_type: StreamInput, input_url: str, faulty: str) -> None:
    """Raises ControlError (422), which names the field ``faulty``, for an address at which nothing of that type can be."""
    try:
        address_of(PullSource(InputType(input_type.value), input_url))
    except Refused as refusal:
        raise invalid(**{faulty: refusal.reason}) from None


def bitrate(row: Row, quality: Quality) -> int:
    """Bits a second that a quality of ``row`` usually gets."""
    return usual_bitrate(_CODECS[VideoCodec(row["video_codec"])], _HEIGHTS[quality])


def qualities(row: Row) -> list[Quality]:
    """A row's qualities."""
    return [Quality(word) for word in json.loads(row["qualities"])]


def grant(cipher: "Cipher", row: Row, destinations: Sequence[Row]) -> PublishGrant:
    """What is to be made of the stream of ``row``, which has these ``destinations``, while it is on air."""
    wanted = qualities(row)
    codec = _CODECS[VideoCodec(row["video_codec"])]
    constant = row["bitrate_mode"] == "cbr"
    rungs = tuple(Rung(q.value, _HEIGHTS[q], codec=codec, constant_bitrate=constant) for q in wanted)
    relays = _relays(cipher, [destination for destination in destinations if destination["enabled"]])
    return PublishGrant(
        playback_name(row["id"]),
        pacing=PACING[LatencyMode(row["latency_mode"])],
        ladder=_ladder(row, rungs) if rungs else None,
        relays=tuple(relays),
        recordings=(recording_order(row["id"]),) if row["record_enabled"] else (),
    )


def _ladder(row: Row, rungs: tuple[Rung, ...]) -> Ladder:
    # Without an interval that somebody asked for, what the source is like already is passed through.
    interval = row["keyframe_interval"] or 0.0
    return Ladder(rungs, keyframe_interval=interval, audio_codec=_SOUNDS[AudioCodec(row["audio_codec"])])


def _relays(cipher: "Cipher", destinations: Sequence[Row]) -> Iterator[RelayTarget]:
    """A destination whose key cannot be read is left out: the stream goes on, and to all others."""
    for destination in destinations:
        try:
            yield relay_target(cipher, destination)
        except Unreadable as unreadable:
            facts = {"destination": destination["id"], "reason": unreadable.reason}
            log.warning("relay_not_started", extra={"facts": facts})


def relay_target(cipher: "Cipher", destination: Row) -> RelayTarget:
    """A destination as the engine takes it."""
    key = cipher.open(STREAM_KEY, destination["stream_key"]) if destination["stream_key"] else ""
    return RelayTarget(relay_id(destination["id"]), target_url(open_address(cipher, destination), key), destination["rendition"])


def recording_order(stream_id: int) -> RecordingOrder:
    """A stream's own recording."""
    return RecordingOrder(playback_name(stream_id))


def pull_source(cipher: "Cipher", row: Row) -> PullSource:
    """What is fetched for a row whose input is elsewhere."""
    return PullSource(InputType(row["input_type"]), cipher.open(INPUT_URL, row["input_url"]), loop=row["input_type"] == "file")


def shown_url(url: str | None, *, own: bool) -> str:
    """An input URL for its owner as it is; for others without what may be a secret in it. None: it cannot be read."""
    if url is None:
        return "unreadable"
    if own:
        return url
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    path = parts.path.rpartition("/")[0] + "/…" if parts.scheme in {"rtmp", "rtmps"} else parts.path
    return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{path}"


def shown_address(cipher: "Cipher", destination: Row, *, own: bool) -> str:
    """Where a destination leads, likewise: what a platform tells everybody is no secret."""
    address = read_address(cipher, destination)
    return shown_url(address, own=own or address in ADDRESSES.values())


def check_qualities(values: Sequence[Quality]) -> list[str]:
    """Qualities as they are kept: each once, the largest first. Raises ControlError (422)."""
    if len(set(values)) < len(values):
        raise invalid(qualities="each quality once")
    return [quality.value for quality in Quality if quality in values]


def check_key(key: str) -> None:
    """Raises ControlError (422) for a key that no encoder could send."""
    if objection := objection_to(key):
        raise invalid(input_url=objection)


def check_free(config: "Config", key: str) -> None:
    """Raises ControlError for a key of the configuration."""
    configured = [known.get_secret_value().encode() for known in config.auth.stream_keys.values()]
    if sum(hmac.compare_digest(known, key.encode()) for known in configured):
        raise taken()


def taken() -> ControlError:
    """The key is not to be had."""
    return ControlError(ErrorCode.CONFLICT, "Somebody else has this key", invalid(input_url="this stream key is taken").details)


def differences(
    cipher: "Cipher", present: Sequence[Row], wanted: Sequence["DestinationCreate"]
) -> tuple[Sequence["DestinationCreate"], Sequence[Row]]:
    """What of ``wanted`` is not among the destinations ``present``, and what of those is not wanted: each is for one alike."""
    left: dict[tuple[object, ...], list[Row]] = {}
    for row in reversed(present):
        left.setdefault(_words_of_row(cipher, row), []).append(row)
    new = []
    for destination in wanted:
        if alike := left.get(_words_of(destination)):
            alike.pop()
        else:
            new.append(destination)
    return new, [row for alike in left.values() for row in alike]


def _words_of(destination: "DestinationCreate") -> tuple[object, ...]:
    """What makes a destination the same as another."""
    return (
        destination.name,
        destination.platform,
        destination.address,
        destination.stream_key,
        destination.rendition,
        destination.enabled,
    )


def _words_of_row(cipher: "Cipher", row: Row) -> tuple[object, ...]:
    """The same of one that is there."""
    key = cipher.read(STREAM_KEY, row["stream_key"])
    return row["name"], row["platform"], read_address(cipher, row), key, row["rendition"], bool(row["enabled"])


def destinations_by_stream(rows: Sequence[Row], found: Sequence[Row]) -> Mapping[int, Sequence[Row]]:
    """Which of the destinations ``found`` are whose of the streams ``rows``, by the stream's id; each one's by age."""
    own: dict[int, list[Row]] = {row["id"]: [] for row in rows}
    users: dict[int, list[Row]] = {}
    for destination in found:
        if destination["stream_id"] is None:
            users.setdefault(destination["user_id"], []).append(destination)
        else:
            own[destination["stream_id"]].append(destination)
    for row in rows:
        mine = own[row["id"]]
        mine += users.get(row["user_id"], ())
        if len(mine) > 1:
            mine.sort(key=lambda destination: int(destination["id"]))
    return own
