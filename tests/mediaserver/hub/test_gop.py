from mediaserver.hub.gop import GopCache
from protocols.media import MediaKind, Packet


def video(dts: int, keyframe: bool = False, size: int = 100) -> Packet:
    return Packet(MediaKind.VIDEO, dts, keyframe, bytes(size), 5)


def audio(dts: int, size: int = 10) -> Packet:
    return Packet(MediaKind.AUDIO, dts, True, bytes(size), 2)


def dts(cache: GopCache) -> list[int]:
    return [packet.dts for packet in cache]


def test_keeps_everything_since_the_last_keyframe() -> None:
    cache = GopCache(10_000, 10_000)
    for packet in (video(0, True), audio(5), video(33), video(66, True), audio(70), video(100)):
        cache.append(packet)
    assert dts(cache) == [66, 70, 100]
    assert cache.nbytes == 210


def test_a_gop_of_too_many_bytes_is_dropped_whole_until_the_next_keyframe() -> None:
    cache = GopCache(1_000, 10_000)
    cache.append(video(0, True, 600))
    cache.append(video(33, size=600))
    assert len(cache) == 0
    cache.append(video(66))
    cache.append(audio(70))
    assert len(cache) == 0
    cache.append(video(100, True))
    assert dts(cache) == [100]


def test_a_gop_of_too_many_seconds_is_dropped_whole() -> None:
    cache = GopCache(10_000, 1_000)
    cache.append(video(0, True))
    cache.append(video(1_001))
    assert len(cache) == 0


def test_audio_alone_keeps_its_last_second() -> None:
    cache = GopCache(1_000_000, 10_000, audio_ms=1_000)
    for at in range(0, 10_000, 20):
        cache.append(audio(at))
    assert cache_span(cache) <= 1_500
    assert dts(cache)[-1] == 9_980
    assert cache.nbytes == 10 * len(cache)


def test_audio_alone_is_bounded_in_bytes_too() -> None:
    cache = GopCache(1_000, 10_000, audio_ms=1_000_000)
    for at in range(0, 10_000, 20):
        cache.append(audio(at, 100))
    assert cache.nbytes <= 1_100


def test_audio_that_came_before_the_first_keyframe_gives_way_to_it() -> None:
    cache = GopCache(10_000, 10_000)
    cache.append(audio(0))
    cache.append(audio(20))
    cache.append(video(30, True))
    assert dts(cache) == [30]


def cache_span(cache: GopCache) -> int:
    return dts(cache)[-1] - dts(cache)[0]
