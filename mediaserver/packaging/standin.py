"""What players get of a track that has fallen silent while the other goes on: silence, or its last keyframe again.

A playlist that stands still stops the whole player: MSE plays no further than every track reaches, and gaps (EXT-X-GAP)
make hls.js wait as well. So the track goes on, without the publisher.
"""

from mediaserver.packaging.rendition import Rendition
from mediaserver.packaging.segment import Epoch
from mediaserver.packaging.silence import is_repeatable, silent_packet
from protocols.codec import AudioParameters, packet_duration
from protocols.errors import ProtocolError
from protocols.media import MediaKind

#: A track that is silent for so long (ms) leaves the other to itself.
SILENCE = 3_000
#: Seconds that are put in at once at the most: it is done with every packet of the other track, so that more means that a clock
#: has leaped, and to fill that up could take for ever.
MOST_AT_ONCE = 60
#: The largest keyframe and packet of sound (bytes) that come again. A part is about 0.2 s and each holds the keyframe anew, so
#: this is the rate of a good 1080p stream; beyond, little sound would fill the memory with one picture.
MAX_PICTURE = 256 * 1024
MAX_SOUND = 4096


def keep_up(rendition: Rendition, epoch: Epoch, now: int) -> None:
    """Put in what is missing of ``rendition``: the other track is in ``epoch``, at ``now`` (ms of media time)."""
    scale = rendition.init.timescale
    if rendition.last < 0 or epoch.begin is None:
        return
    if not rendition.stood_in and (
        now - max(rendition.last * 1000 // scale, int(epoch.begin * 1000)) <= SILENCE or not _prepare(rendition)
    ):
        return
    _stand_in(rendition, epoch, now * scale // 1000 - _step(rendition))


def silence(rendition: Rendition) -> bytes | None:
    """A packet of silence like the last one of the track, which is sound. None where none is known that fits."""
    spare = rendition.spare
    return None if spare is None or len(spare[0]) > MAX_SOUND else silent_packet(rendition.init.track, spare[0])


def returns(rendition: Rendition, epoch: Epoch, time: int, *, keyframe: bool) -> bool:
    """Whether the track's own packet at ``time`` takes over again: not in the past, and no picture without its keyframe."""
    if time <= rendition.last or not keyframe:
        return False
    _stand_in(rendition, epoch, time - 1)
    rendition.stood_in = False
    return True


def _stand_in(rendition: Rendition, epoch: Epoch, until: int) -> None:
    """Go on with what is at hand, piece by piece; none begins later than ``until``."""
    if rendition.spare is None or epoch.begin is None:
        return
    step = _step(rendition)
    time = max(round(epoch.begin * rendition.init.timescale) if rendition.fresh else rendition.last + step, rendition.last + 1)
    if until - time > MOST_AT_ONCE * rendition.init.timescale:
        rendition.spare, rendition.stood_in = None, False
        return
    while time <= until:
        rendition.push(epoch, time, *rendition.spare, keyframe=True)
        time += step


def _prepare(rendition: Rendition) -> bool:
    """Have what is put in, made of the last packet (of sound) or of the last keyframe."""
    track, spare = rendition.init.track, rendition.spare
    if spare is not None and track.kind is MediaKind.AUDIO:
        silent = silence(rendition)
        rendition.spare = None if silent is None else (silent, 0)
    elif spare is not None and (len(spare[0]) > MAX_PICTURE or not is_repeatable(track, spare[0])):
        rendition.spare = None
    rendition.stood_in = rendition.spare is not None
    return rendition.stood_in


def _step(rendition: Rendition) -> int:
    """How long what is put in lasts, in the track's timescale: a packet of sound, a picture as long as a part."""
    parameters = rendition.init.parameters
    frame = max(rendition.segmenter.frame, 1)
    if not isinstance(parameters, AudioParameters):
        return max(rendition.segmenter.part_limit, frame)
    data = b"" if rendition.spare is None else rendition.spare[0]
    try:
        return parameters.samples_per_packet or packet_duration(rendition.init.track, data) or frame
    except ProtocolError:
        return frame
