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


def test_a_rendition_keeps_what_there_is_since_the_last_keyframe_that_its_source_has_too() -> None:
    cache = GopCache(10_000, 10_000)
    for packet in (video(0, True), audio(5), video(33)):
        cache.append(packet)
    for packet in (video(66, True), audio(70), video(100, True), video(133)):
        cache.append(packet, own=packet.keyframe and packet.kind is MediaKind.VIDEO)
    assert (dts(cache), len(cache)) == ([100, 133], 2)
    assert [packet.dts for packet in cache.whole()] == [0, 5, 33, 66, 70, 100, 133]
    cache.forget(MediaKind.AUDIO)
    assert (dts(cache), len(list(cache.whole()))) == ([100, 133], 5)
    cache.append(video(166, True))
    assert dts(cache) == [packet.dts for packet in cache.whole()] == [166]


def test_of_what_is_too_much_the_gop_that_can_be_played_now_stays() -> None:
    cache = GopCache(1_000, 1_000)
    cache.append(video(0, True, 400))
    cache.append(video(33, True, 400), own=True)
    cache.append(video(66, size=400))
    assert dts(cache) == [packet.dts for packet in cache.whole()] == [33, 66]
    assert cache.nbytes == 800
    cache.append(video(900, True), own=True)
    cache.append(video(1_040))
    assert dts(cache) == [packet.dts for packet in cache.whole()] == [900, 1_040]
    cache.append(video(1_901))
    assert len(cache) == len(list(cache.whole())) == 0
    cache.append(video(1_950, True), own=True)
    assert dts(cache) == [1_950]


def test_the_same_picture_s_time_may_be_rounded() -> None:
    cache = GopCache(1_000, 1_000)
    for at in (0, 500):
        cache.append(video(at, True))
    assert all(cache.had_keyframe(pts) for pts in (0, 5, 497))
    assert not any(cache.had_keyframe(pts) for pts in (33, 467))
