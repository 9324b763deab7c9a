"""Real packets in, segments out: what a real decoder and what players make of them."""

import functools
import io
import itertools
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.packaging import dash, hls
from mediaserver.packaging.packager import Packager
from mediaserver.packaging.standin import MAX_PICTURE
from mediaserver.packaging.window import Window
from protocols.media import Codec, MediaKind, Metadata, Packet, Track
from tests.media import Clips
from tests.mediaserver.packaging.material import (
    UNIX_TIME,
    Settings,
    Wall,
    decode,
    family,
    feed,
    media_bytes,
    media_playlist,
    only,
    packager,
    read_flv,
    shifted,
)

VIDEO, AUDIO = MediaKind.VIDEO, MediaKind.AUDIO


@pytest.fixture(scope="module")
def clip(clips: Clips) -> list[Track | Packet]:
    """Four seconds of H.264 with B-frames, a keyframe every second, and AAC."""
    return read_flv(clips.get())


def window(subject: Packager, kind: MediaKind) -> Window:
    return subject.renditions[kind].window


def payloads(items: list[Track | Packet], kind: MediaKind) -> list[bytes]:
    return [item.payload for item in items if isinstance(item, Packet) and item.kind is kind]


def assert_seamless(found: Window) -> None:
    """Within each epoch every segment begins where the one before it ended."""
    for before, after in itertools.pairwise(found.segments):
        assert after.sequence == before.sequence + 1
        if before.epoch is after.epoch:
            assert after.time == before.time + before.duration


# -- the good case -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(MediaKind))
def test_init_and_segments_together_decode_without_a_gap(clip: list[Track | Packet], kind: MediaKind) -> None:
    subject = packager()
    feed(subject, clip)
    subject.on_end()
    assert_seamless(window(subject, kind))
    decoded = decode(media_bytes(subject, kind))
    assert decoded.frames == len(payloads(clip, kind))
    for (before, after), duration in zip(itertools.pairwise(decoded.dts), decoded.durations, strict=False):
        assert after - before == pytest.approx(duration)
    assert min(decoded.pts) >= decoded.dts[0] > 0


@pytest.mark.parametrize(
    ("video", "audio", "codecs"),
    [
        ("hevc", "opus", "hvc1.1.6.L60.90,opus"),
        ("av1", "flac", "av01.0.00M.08,fLaC"),
        ("vp9", "ac3", "vp09.00.11.08,ac-3"),
        ("h264", "mp3", "avc1.4d400d,mp4a.6B"),
    ],
)
def test_every_codec_pair_decodes_and_is_named(clips: Clips, video: str, audio: str, codecs: str) -> None:
    items = read_flv(clips.get(video=video, audio=audio))
    subject = packager()
    feed(subject, items)
    subject.on_end()
    # Sound that comes before the first picture is left out.
    assert decode(media_bytes(subject, VIDEO)).frames == len(payloads(items, VIDEO))
    assert decode(media_bytes(subject, AUDIO)).frames >= len(payloads(items, AUDIO)) - 1
    assert f'CODECS="{codecs}"' in hls.multivariant_playlist(family(subject))


@pytest.mark.parametrize("kind", list(MediaKind))
def test_one_track_alone_is_a_stream(clip: list[Track | Packet], kind: MediaKind) -> None:
    subject = packager()
    feed(subject, only(clip, kind))
    assert subject.ready
    playlist = hls.multivariant_playlist(family(subject))
    assert playlist.endswith(f"{kind.value}.m3u8\n")
    assert "EXT-X-MEDIA" not in playlist
    lengths = [segment.seconds for segment in window(subject, kind).segments if segment.complete]
    assert len(lengths) >= 3
    assert lengths == pytest.approx([1.0] * len(lengths), abs=0.022)


def test_parts_of_a_segment_are_its_bytes(clip: list[Track | Packet]) -> None:
    subject = packager()
    feed(subject, clip)
    for kind in MediaKind:
        for segment in window(subject, kind).segments:
            assert b"".join(segment.part_body(index) for index in range(len(segment.parts))) == segment.body


def test_parts_keep_their_target_and_segments_start_on_keyframes(clip: list[Track | Packet]) -> None:
    subject = packager()
    feed(subject, clip)
    for kind in MediaKind:
        for segment in window(subject, kind).segments:
            assert segment.independent
            seconds = [part.duration / segment.init.timescale for part in segment.parts]
            assert all(length <= subject.part_target for length in seconds)
            assert all(length >= 0.85 * subject.part_target for length in seconds[:-1])


def test_audio_segments_begin_with_video_segments(clip: list[Track | Packet]) -> None:
    subject = packager()
    feed(subject, clip)
    pairs = zip(window(subject, VIDEO).segments, window(subject, AUDIO).segments, strict=True)
    for video, audio in itertools.islice(pairs, 1, None):
        assert video.sequence == audio.sequence
        assert abs(video.time / video.init.timescale - audio.time / audio.init.timescale) <= 0.022


def test_a_part_is_out_as_soon_as_the_next_picture_comes(clip: list[Track | Packet]) -> None:
    subject = packager()
    seen = []
    video = only(clip, VIDEO)
    feed(subject, video, after=lambda: seen.append(window(subject, VIDEO).position()))
    first = next(index for index, (_, part) in enumerate(seen) if part)
    packets = [item for item in video if isinstance(item, Packet)]
    assert packets[first].dts - packets[0].dts <= 250


def test_program_time_is_the_wall_clock_and_runs_with_the_media(clip: list[Track | Packet]) -> None:
    wall = Wall()
    begin = wall.at
    subject = packager(wall=wall)
    feed(subject, clip, wall)
    assert [segment.program_time - begin for segment in window(subject, VIDEO).segments] == pytest.approx([0, 1, 2, 3], abs=0.05)


def test_a_replayed_gop_is_dated_from_its_last_packet(clip: list[Track | Packet]) -> None:
    wall = Wall()
    subject = packager(wall=wall)
    feed(subject, clip)
    video = window(subject, VIDEO).segments
    assert video[0].program_time == pytest.approx(wall.at - 4, abs=0.1)


# -- breaks ------------------------------------------------------------------------------------------------------------------


def test_a_publisher_that_returns_continues_behind_a_discontinuity(clip: list[Track | Packet]) -> None:
    wall = Wall()
    subject = packager(wall=wall)
    feed(subject, clip, wall)
    subject.on_away()
    before = media_playlist(subject, window(subject, VIDEO), delta=False)
    assert "ENDLIST" not in before
    wall.at += 5
    feed(subject, shifted(clip, 4100, discontinuity=True), wall)
    for kind in MediaKind:
        segments = list(window(subject, kind).segments)
        assert_seamless(window(subject, kind))
        assert [segment.discontinuities for segment in segments].count(1) == 1
        first = next(segment for segment in segments if segment.discontinuities)
        assert first.independent
        assert first.program_time - segments[0].program_time == pytest.approx(9, abs=0.2)
    after = media_playlist(subject, window(subject, VIDEO), delta=False)
    assert "#EXT-X-DISCONTINUITY\n" in after
    assert "#EXT-X-DISCONTINUITY-SEQUENCE:50\n" in after


def test_discontinuity_sequence_rises_when_the_tag_leaves_and_agrees_between_tracks(clip: list[Track | Packet]) -> None:
    subject = packager(Settings(window=3))
    numbers: dict[MediaKind, list[int]] = {VIDEO: [], AUDIO: []}
    sequences: list[int] = []
    for turn in range(4):
        feed(subject, shifted(clip, 4100 * turn, discontinuity=turn > 0))
        for kind in MediaKind:
            visible = window(subject, kind).visible()
            numbers[kind].append(hls.discontinuity_sequence(subject, visible[0]) + sum(s.discontinuities for s in visible))
        sequences.append(window(subject, VIDEO).visible()[0].sequence)
    assert numbers[VIDEO] == numbers[AUDIO] == [50, 51, 52, 53]
    assert sequences == sorted(sequences)


def test_new_parameters_get_a_new_init_segment_behind_a_discontinuity(clips: Clips, clip: list[Track | Packet]) -> None:
    other = read_flv(clips.get(width=256, height=144))
    subject = packager()
    feed(subject, clip)
    feed(subject, shifted(other, 4100))
    video = window(subject, VIDEO)
    playlist = media_playlist(subject, video, delta=False)
    first, second = video.inits
    assert playlist.index(f"video/init-{first}.mp4") < playlist.index("#EXT-X-DISCONTINUITY\n")
    assert f'#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI="video/init-{second}.mp4"\n' in playlist
    assert [segment.init.index for segment in video.segments] == [first] * 4 + [second] * 4
    assert "256x144" in hls.multivariant_playlist(family(subject))
    tail = video.inits[second].answer.body + b"".join(s.body for s in video.segments if s.init.index == second)
    assert decode(tail).frames > 0


#: What makes two channels of one another: the byte of a frame's header, and what it becomes.
OTHER_CHANNELS = {"mp3": (3, lambda byte: byte | 0xC0), "ac3": (6, lambda byte: byte & 0x1F)}


def tracks_in(items: list[Track | Packet]) -> list[Track | Packet]:
    return [item for item in items if isinstance(item, Track)]


def with_other_channels(items: list[Track | Packet], codec: str, since: int) -> list[Track | Packet]:
    """The same, its sound from ``since`` on said to be of other channels."""
    at, change = OTHER_CHANNELS[codec]

    def changed(packet: Packet) -> Packet:
        body = bytearray(packet.body)
        body[packet.offset + at] = change(body[packet.offset + at])
        return replace(packet, body=bytes(body))

    return [changed(item) if isinstance(item, Packet) and item.kind is AUDIO and item.dts >= since else item for item in items]


@pytest.mark.parametrize("codec", ["mp3", "ac3"])
def test_sound_whose_frames_say_something_else_gets_a_new_init_segment_and_costs_no_picture(clips: Clips, codec: str) -> None:
    items = read_flv(clips.get(audio=codec))
    subject = packager()
    # A keyframe at 2000 and the next at 3000.
    feed(subject, with_other_channels(items, codec, 2100))
    subject.on_end()
    video, audio = window(subject, VIDEO), window(subject, AUDIO)
    assert [segment.epoch.number for segment in video.segments] == [0, 0, 0, 1]
    assert sum(segment.frames for segment in video.segments) == len(payloads(items, VIDEO))
    assert all(segment.independent for segment in video.segments)
    assert [segment.epoch.number for segment in audio.segments] == [0, 0, 0, 1]
    first, second = audio.inits
    assert [segment.init.index for segment in audio.segments] == [first] * 3 + [second]
    assert_seamless(video)
    assert_seamless(audio)
    for segment in audio.segments:
        assert segment.duration / segment.init.timescale == pytest.approx(1, abs=0.1)
    # Of MP3 there is silence until the picture can begin anew; AC-3 says with each frame how it is to be decoded.
    before = b"".join(segment.body for segment in audio.segments if segment.init.index == first)
    changed = [
        item.payload for item in with_other_channels(items, codec, 2100) if isinstance(item, Packet) and 2200 < item.dts < 2800
    ]
    sounds = [payload for payload in changed if payload not in payloads(items, VIDEO)]
    assert sounds
    assert {payload in before for payload in sounds} == {codec == "ac3"}


#: What makes 44.1 kHz of 48: the byte of a frame's header, and what it becomes; samples in a frame.
OTHER_RATE = {"mp3": (2, lambda byte: byte & 0xF3, 1152), "ac3": (4, lambda byte: byte | 0x40, 1536)}


def with_other_rate(items: list[Track | Packet], codec: str, since: int) -> list[Track | Packet]:
    """The same, its sound from ``since`` on at 44.1 kHz: said so, and its packets further apart."""
    at, change, samples = OTHER_RATE[codec]
    sounds = [item for item in items if isinstance(item, Packet) and item.kind is AUDIO]
    first = next(sound for sound in sounds if sound.dts >= since)
    body = bytearray(first.body)
    body[first.offset + at] = change(body[first.offset + at])
    count = (sounds[-1].dts - first.dts) * 441 // (10 * samples)
    later = [replace(first, dts=first.dts + round(n * samples / 44.1), body=bytes(body)) for n in range(count)]
    others = [item for item in items if isinstance(item, Packet) and not (item.kind is AUDIO and item.dts >= since)]
    return [*tracks_in(items), *sorted([*others, *later], key=lambda packet: packet.dts)]


@pytest.mark.parametrize("change", [with_other_channels, with_other_rate])
@pytest.mark.parametrize("codec", ["mp3", "ac3"])
def test_no_moment_is_without_sound_where_that_changes(
    clips: Clips, codec: str, change: Callable[[list[Track | Packet], str, int], list[Track | Packet]]
) -> None:
    subject = packager()
    feed(subject, change(read_flv(clips.get(audio=codec)), codec, 2100))
    subject.on_end()
    audio = window(subject, AUDIO)
    assert [segment.epoch.number for segment in audio.segments] == [0, 0, 0, 1]
    for before, after in itertools.pairwise(audio.segments):
        end = (before.time + before.duration) / before.init.timescale
        assert after.time / after.init.timescale == pytest.approx(end, abs=0.002)


def test_sound_whose_rate_goes_down_keeps_its_place_in_time(clips: Clips) -> None:
    items = read_flv(clips.get(b_frames=0))
    subject = packager()
    for begin, config, rate in ((0, "1190", 48_000), (4000, "1210", 44_100)):
        sounds = [item for item in items if isinstance(item, Packet) and item.kind is AUDIO]
        stamped = [replace(sound, dts=round(n * 1_024_000 / rate)) for n, sound in enumerate(sounds) if n * 1024 < 4 * rate]
        tracks = [replace(item, config=bytes.fromhex(config)) if item.kind is AUDIO else item for item in tracks_in(items)]
        pictures = [item for item in items if isinstance(item, Packet) and item.kind is VIDEO]
        feed(subject, [*tracks, *shifted(sorted([*pictures, *stamped], key=lambda packet: packet.dts), begin)])
    subject.on_end()
    video, audio = window(subject, VIDEO), window(subject, AUDIO)
    assert [segment.epoch.number for segment in audio.segments] == [segment.epoch.number for segment in video.segments]
    for heard, seen in zip(audio.segments, video.segments, strict=True):
        assert heard.time / heard.init.timescale == pytest.approx(seen.time / seen.init.timescale, abs=0.1)
        assert heard.duration / heard.init.timescale == pytest.approx(seen.duration / seen.init.timescale, abs=0.1)


def test_sound_that_changes_its_mind_or_has_no_picture_waits_for_none(clips: Clips) -> None:
    items = read_flv(clips.get(audio="mp3"))
    subject = packager()
    for item in items:
        # A few packets of others.
        feed(subject, with_other_channels([item], "mp3", 2100) if isinstance(item, Packet) and item.dts < 2150 else [item])
    assert subject.epochs.discontinuities == 1
    subject = packager()
    feed(subject, items)
    feed(subject, only(with_other_channels(shifted(items, 4000), "mp3", 4000), AUDIO))
    assert subject.epochs.discontinuities == 2


def test_the_same_parameters_again_change_nothing(clip: list[Track | Packet]) -> None:
    subject = packager()
    feed(subject, clip)
    for item in clip:
        if isinstance(item, Track):
            subject.on_track(replace(item, body=b""))
    assert subject.epochs.current is not None
    assert subject.epochs.discontinuities == 1


def test_the_end_completes_the_last_segment_and_says_so(clip: list[Track | Packet]) -> None:
    subject = packager()
    feed(subject, clip)
    fired: list[bool] = []
    window(subject, VIDEO).signal.add(lambda: fired.append(True))
    subject.on_end()
    playlist = media_playlist(subject, window(subject, VIDEO), delta=False)
    assert playlist.endswith("#EXT-X-ENDLIST\n")
    assert "PRELOAD-HINT" not in playlist
    assert fired
    assert 'type="static"' in dash.mpd(family(subject), 0.0)


def test_a_new_period_begins_at_a_discontinuity(clip: list[Track | Packet]) -> None:
    wall = Wall()
    subject = packager(wall=wall)
    feed(subject, clip, wall)
    wall.at += 5
    feed(subject, shifted(clip, 4100, discontinuity=True), wall)
    text = dash.mpd(family(subject), wall.at)
    assert '<Period id="p0" start="PT0S">' in text
    assert '<Period id="p1" start="PT9' in text or '<Period id="p1" start="PT8.9' in text


@pytest.mark.parametrize("rate", [0.97, 1.03])
def test_a_publisher_whose_clock_runs_away_is_dated_anew_without_a_discontinuity(clip: list[Track | Packet], rate: float) -> None:
    wall = Wall()
    begin = wall.at
    subject = packager(Settings(dvr=100.0), wall)
    for turn in range(10):
        for item in shifted(clip, 4000 * turn):
            if isinstance(item, Track):
                subject.on_track(item)
            else:
                wall.at = begin + item.dts / 1000 * rate
                subject.on_packet(item)
    video = window(subject, VIDEO)
    for segment in video.segments:
        true = begin + (segment.time / 90_000 - 10) * rate
        assert segment.program_time == pytest.approx(true, abs=1.0)
    assert not any(segment.discontinuities for segment in video.segments)
    assert dash.mpd(family(subject), wall.at).count("<Period") > 1


# -- odd input ---------------------------------------------------------------------------------------------------------------


def test_a_gop_without_end_is_cut_and_not_called_independent(clips: Clips) -> None:
    subject = packager(Settings(segment_duration=0.5))
    subject._maximum = 1.0
    feed(subject, only(read_flv(clips.get(gop=1000)), VIDEO))
    segments = [segment for segment in window(subject, VIDEO).segments if segment.complete]
    assert [segment.seconds for segment in segments] == pytest.approx([1.0] * 3, abs=0.05)
    assert [segment.independent for segment in segments] == [True, False, False]
    assert "INDEPENDENT-SEGMENTS" not in media_playlist(subject, window(subject, VIDEO), delta=False)
    assert "startWithSAP" not in dash.mpd(family(subject), UNIX_TIME)


@pytest.mark.parametrize("distance", [10_000, 10_417, 20_000])
def test_encoders_left_to_themselves_set_their_keyframes_far_apart(clip: list[Track | Packet], distance: int) -> None:
    subject = packager(Settings(segment_duration=2.0))
    picture = next(item for item in clip if isinstance(item, Packet) and item.kind is VIDEO)
    feed(subject, only(clip, VIDEO)[:1])
    for number in range(2000):
        before, at = (number - 1) * 1000 // 24, number * 1000 // 24
        subject.on_packet(replace(picture, dts=at, cts=0, keyframe=at // distance != before // distance))
    segments = [segment for segment in window(subject, VIDEO).segments if segment.complete]
    assert all(segment.independent for segment in segments)
    assert [segment.seconds for segment in segments] == pytest.approx([distance / 1000] * len(segments), abs=0.1)
    assert 'contentType="video" mimeType="video/mp4" segmentAlignment="true" startWithSAP="1"' in dash.mpd(
        family(subject), UNIX_TIME
    )


@pytest.mark.parametrize("dvr", [0.0, 40.0])
def test_enormous_pictures_in_tiny_steps_fill_no_memory(
    clip: list[Track | Packet], monkeypatch: pytest.MonkeyPatch, dvr: float
) -> None:
    """Each a fortieth of what a second may weigh, every millisecond."""
    weight = 1_000_000
    for module in ("packager", "window"):
        monkeypatch.setattr(f"mediaserver.packaging.{module}.WEIGHT", weight)
    subject = packager(Settings(segment_duration=1.0, dvr=dvr))
    picture = next(item for item in clip if isinstance(item, Packet) and item.kind is VIDEO)
    enormous = picture.body + (25_000).to_bytes(4, "big") + b"\x06" * 25_000
    feed(subject, only(clip, VIDEO)[:1])
    for step in range(3000):
        subject.on_packet(replace(picture, body=enormous, dts=step, keyframe=step == 0))
    segments = [segment for segment in window(subject, VIDEO).segments if segment.complete]
    assert max(segment.nbytes for segment in segments) < weight + 2 * len(enormous)
    most = dvr + 8 if dvr else 14
    assert most - 1 <= sum(segment.nbytes for segment in segments) / weight <= most * 1.1


def test_audio_goes_on_by_itself_when_video_stops(clip: list[Track | Packet]) -> None:
    subject = packager()
    feed(subject, clip)
    for turn in range(1, 6):
        feed(subject, only(shifted(clip, 4010 * turn), AUDIO))
    audio = window(subject, AUDIO)
    assert audio.segments[-1].time / 48_000 > 30
    assert all(segment.seconds < 4.2 for segment in audio.segments)
    assert_seamless(audio)


def test_video_that_was_away_for_long_begins_anew(clip: list[Track | Packet]) -> None:
    subject = packager()
    feed(subject, clip)
    feed(subject, shifted(clip, 60_000))
    video = window(subject, VIDEO)
    assert [segment.discontinuities for segment in video.segments] == [0, 0, 0, 0, 1, 0, 0, 0]
    assert subject.part_target < 0.25
    assert video.target_duration == 1


def test_late_audio_joins_at_the_segment_that_video_is_in(clip: list[Track | Packet]) -> None:
    subject = packager()
    feed(subject, only(clip, VIDEO))
    assert "EXT-X-MEDIA" not in hls.multivariant_playlist(family(subject))
    number = window(subject, VIDEO).position()[0]
    feed(subject, shifted(clip, 4000))
    assert window(subject, AUDIO).segments[0].sequence == number
    assert "EXT-X-MEDIA" in hls.multivariant_playlist(family(subject))


def test_video_before_its_first_keyframe_is_left_out(clip: list[Track | Packet]) -> None:
    subject = packager()
    tracks = [item for item in clip if isinstance(item, Track)]
    packets = [item for item in clip if isinstance(item, Packet)]
    feed(subject, [*tracks, *packets[1:]])
    assert window(subject, VIDEO).segments[0].independent
    assert window(subject, VIDEO).segments[0].time == pytest.approx(window(subject, AUDIO).segments[0].time * 90 / 48, abs=2000)


def test_audio_does_not_wait_for_a_picture_for_ever(clip: list[Track | Packet]) -> None:
    subject = packager()
    tracks = [item for item in clip if isinstance(item, Track)]
    feed(subject, [*tracks, *only(clip, AUDIO), *only(shifted(clip, 4010), AUDIO)])
    assert window(subject, AUDIO).started
    assert subject.ready


@pytest.mark.parametrize(
    "track",
    [
        Track(Codec.SPEEX, b""),
        Track(Codec.H264, b""),
        Track(Codec.H264, b"\x01\x64\x00\x1f\xff\xe1\x00\x04\x67\xff\xff\xff\x01\x00\x00"),
        Track(Codec.HEVC, b"\x00" * 40),
        Track(Codec.AV1, b"\xff"),
        Track(Codec.VP6, b""),
    ],
)
def test_a_track_that_cannot_be_packaged_is_left_out_and_logged(
    track: Track, clip: list[Track | Packet], caplog: pytest.LogCaptureFixture
) -> None:
    other = AUDIO if track.kind is VIDEO else VIDEO
    subject = packager()
    with caplog.at_level(logging.WARNING):
        subject.on_track(track)
        feed(subject, [item for item in clip if isinstance(item, Packet) or item.kind is other])
    assert list(subject.renditions) == [other]
    assert window(subject, other).started
    assert track.codec is Codec.AV1 or "track_not_packaged" in caplog.text


def test_a_track_whose_new_parameters_are_bogus_ends_and_the_other_goes_on(clip: list[Track | Packet]) -> None:
    subject = packager()
    feed(subject, clip)
    subject.on_track(Track(Codec.H264, b"\x00bogus"))
    feed(subject, [item for item in shifted(clip, 4010) if isinstance(item, Packet)])
    assert list(subject.renditions) == [AUDIO]
    assert window(subject, AUDIO).segments[-1].time / 48_000 > 16


@pytest.mark.parametrize("step", [0, 1, 700, 2500])
def test_strange_clocks_give_segments_all_the_same(clip: list[Track | Packet], step: int) -> None:
    subject = packager()
    count = itertools.count()
    feed(subject, [replace(item, dts=next(count) * step) if isinstance(item, Packet) else item for item in clip])
    subject.on_metadata(Metadata(b""))
    subject.on_end()
    for kind in MediaKind:
        assert_seamless(window(subject, kind))
        assert window(subject, kind).started


PACKETS = st.builds(
    Packet,
    kind=st.sampled_from(MediaKind),
    dts=st.integers(-(2**31), 2**40),
    keyframe=st.booleans(),
    body=st.binary(max_size=40),
    offset=st.integers(0, 8),
    cts=st.integers(-(2**23), 2**23 - 1),
    discontinuity=st.booleans(),
)
TRACKS = st.builds(Track, codec=st.sampled_from(Codec), config=st.binary(max_size=40))


@functools.cache
def tracks_of(file: Path) -> list[Track | Packet]:
    """The tracks of a clip, without its packets."""
    return tracks_in(read_flv(file))


@hypothesis.settings(max_examples=150)
@given(
    clip=st.sampled_from([("h264", "aac"), ("av1", "opus"), ("vp9", "ac3")]),
    items=st.lists(st.one_of(PACKETS, PACKETS, PACKETS, TRACKS), max_size=60),
)
def test_nothing_that_comes_makes_it_raise(clips: Clips, clip: tuple[str, str], items: list[Track | Packet]) -> None:
    subject = packager()
    feed(subject, tracks_of(clips.get(video=clip[0], audio=clip[1])))
    feed(subject, items)
    subject.on_away()
    feed(subject, items)
    subject.on_end()
    for found in subject.windows:
        if found.started:
            media_playlist(subject, found, delta=True)
    if subject.ready:
        hls.multivariant_playlist(family(subject))
        dash.mpd(family(subject), 0.0)


def test_silence_of_video_keeps_no_list_of_what_audio_missed(clip: list[Track | Packet]) -> None:
    subject = packager()
    feed(subject, clip)
    for turn in range(1, 20):
        feed(subject, only(shifted(clip, 4000 * turn), VIDEO))
    assert len(subject.renditions[AUDIO].boundaries) <= 16
    assert len(window(subject, VIDEO).segments) <= 16


def test_a_change_of_frame_rate_changes_the_parts(clips: Clips, clip: list[Track | Packet]) -> None:
    subject = packager(Settings(part_duration=0.1))
    feed(subject, clip)
    assert subject.frame_rate == 25
    feed(subject, shifted(read_flv(clips.get(frame_rate=60, gop=60)), 4100, discontinuity=True))
    assert subject.frame_rate == 60
    newest = window(subject, VIDEO).segments[-2]
    assert [part.duration / 90_000 for part in newest.parts] == pytest.approx([0.1] * 10, abs=0.002)


def test_empty_access_units_are_passed_over(clip: list[Track | Packet]) -> None:
    subject = packager()
    feed(
        subject,
        [replace(item, body=b"\x27\x01\0\0\0") if isinstance(item, Packet) and item.dts > 2000 else item for item in clip],
    )
    assert window(subject, VIDEO).segments[-1].time / 90_000 < 12.1


def test_a_stream_of_slides_raises_the_part_target(clip: list[Track | Packet]) -> None:
    slides = [item for item in only(clip, VIDEO) if isinstance(item, Track) or item.keyframe]
    subject = packager()
    feed(subject, slides + [item for turn in (4, 8) for item in shifted(slides, 1000 * turn)])
    assert subject.part_target == pytest.approx(1.0, abs=0.01)
    assert all(len(segment.parts) == 1 for segment in window(subject, VIDEO).segments)


# -- one track falls silent ---------------------------------------------------------------------------------------------------


def end_of(found: Window) -> float:
    segment = found.segments[-1]
    return (segment.time + segment.duration) / segment.init.timescale


@pytest.mark.parametrize("codec", ["aac", "opus", "mp3"])
def test_sound_that_stops_becomes_silence_so_that_the_picture_goes_on(clips: Clips, codec: str) -> None:
    items = read_flv(clips.get(audio=codec))
    subject = packager(Settings(dvr=60))
    feed(subject, items)
    for turn in (1, 2, 3):
        feed(subject, only(shifted(items, 4000 * turn), VIDEO))
    audio = window(subject, AUDIO)
    assert end_of(audio) == pytest.approx(end_of(window(subject, VIDEO)), abs=0.3)
    assert [segment.sequence for segment in audio.segments] == [segment.sequence for segment in window(subject, VIDEO).segments]
    feed(subject, [item for item in shifted(items, 16_000) if isinstance(item, Packet)])
    subject.on_end()
    assert_seamless(audio)
    assert subject.epochs.discontinuities == 1
    assert subject.part_target < 0.25
    levels = loudness(media_bytes(subject, AUDIO))
    assert max(levels[1:3]) > 500
    assert max(levels[5:15]) < 20
    assert max(levels[17:19]) > 500


def loudness(data: bytes) -> list[int]:
    """The largest sample (of 32768) of each second."""
    found: dict[int, int] = {}
    resampler = av.AudioResampler("s16", "mono", 48_000)
    with av.open(io.BytesIO(data), "r") as container:
        begin = None
        for frame in container.decode(container.streams.audio[0]):
            assert frame.time is not None
            begin = frame.time if begin is None else begin
            second = int(frame.time - begin)
            for part in resampler.resample(frame):
                found[second] = max(found.get(second, 0), int(abs(part.to_ndarray().astype(int)).max()))
    return [found.get(second, 0) for second in range(max(found) + 1)]


@pytest.mark.parametrize("codec", ["h264", "av1", "vp9"])
def test_a_picture_that_stops_stands_still_so_that_the_sound_goes_on(clips: Clips, codec: str) -> None:
    items = read_flv(clips.get(video=codec))
    subject = packager(Settings(dvr=60))
    feed(subject, items)
    for turn in (1, 2, 3):
        feed(subject, only(shifted(items, 4000 * turn), AUDIO))
    video = window(subject, VIDEO)
    assert end_of(video) == pytest.approx(end_of(window(subject, AUDIO)), abs=0.5)
    packets = [item for item in shifted(items, 16_000) if isinstance(item, Packet)]
    # It comes back in the middle of a GOP: what has lost its keyframe is left out.
    feed(subject, [packet for packet in packets if packet.kind is AUDIO or packet.dts > 16_500])
    subject.on_end()
    assert_seamless(video)
    assert subject.epochs.discontinuities == 1
    assert all(segment.independent and segment.seconds < 2 for segment in video.segments)
    assert subject.part_target < 0.25
    assert decode(media_bytes(subject, VIDEO)).frames > 150


@pytest.mark.parametrize(("first", "other"), [(VIDEO, AUDIO), (AUDIO, VIDEO)])
def test_a_clock_that_leaps_by_years_before_the_other_track_has_begun_is_not_filled_up(
    clip: list[Track | Packet], first: MediaKind, other: MediaKind
) -> None:
    subject = packager()
    feed(subject, clip)
    subject.on_away()
    begins = {item.kind: item for item in reversed(clip) if isinstance(item, Packet) and item.keyframe}
    leap = 4000 + (1 << 40)
    feed(subject, [replace(begins[first], dts=4000), replace(begins[other], dts=leap)])
    feed(subject, [item for item in shifted(clip, leap + 40) if isinstance(item, Packet)])
    for kind in MediaKind:
        assert len(window(subject, kind).segments) <= 16
        assert_seamless(window(subject, kind))
    assert end_of(window(subject, AUDIO)) == pytest.approx(end_of(window(subject, VIDEO)), abs=0.3)


def test_a_track_stays_silent_over_a_discontinuity(clip: list[Track | Packet]) -> None:
    subject = packager()
    feed(subject, clip)
    feed(subject, only(shifted(clip, 4000), VIDEO))
    feed(subject, only(shifted(clip, 8000, discontinuity=True), VIDEO))
    assert end_of(window(subject, AUDIO)) == pytest.approx(end_of(window(subject, VIDEO)), abs=0.3)
    assert_seamless(window(subject, AUDIO))


def test_sound_without_a_known_silence_is_left_as_it_is(clips: Clips) -> None:
    items = read_flv(clips.get(audio="flac"))
    subject = packager()
    feed(subject, items)
    feed(subject, only(shifted(items, 4000), VIDEO))
    assert end_of(window(subject, AUDIO)) == pytest.approx(14, abs=0.3)
    assert end_of(window(subject, VIDEO)) == pytest.approx(18, abs=0.3)


@pytest.mark.parametrize(("size", "repeated"), [(100_000, True), (MAX_PICTURE, False)])
def test_a_keyframe_is_repeated_only_while_that_costs_little(clips: Clips, size: int, repeated: bool) -> None:
    filler = size.to_bytes(4, "big") + b"\x0c" + bytes(size - 1)
    items = [
        replace(item, body=item.body + filler) if isinstance(item, Packet) and item.kind is VIDEO and item.keyframe else item
        for item in read_flv(clips.get())
    ]
    subject = packager()
    feed(subject, items)
    feed(subject, only(shifted(items, 4000), AUDIO))
    assert end_of(window(subject, VIDEO)) == pytest.approx(18 if repeated else 14, abs=0.5)
    assert end_of(window(subject, AUDIO)) == pytest.approx(18, abs=0.3)


def test_a_keyframe_of_an_open_gop_is_not_repeated(clips: Clips) -> None:
    items = read_flv(clips.get(video="hevc"))
    subject = packager()
    feed(subject, items)
    feed(subject, only(shifted(items, 4000), AUDIO))
    assert end_of(window(subject, VIDEO)) == pytest.approx(14, abs=0.3)
    assert end_of(window(subject, AUDIO)) == pytest.approx(18, abs=0.3)


# -- numbers -----------------------------------------------------------------------------------------------------------------


def test_a_rendition_that_was_dropped_and_comes_back_uses_no_number_twice(clip: list[Track | Packet]) -> None:
    subject = packager()
    video = only(clip, VIDEO)
    feed(subject, video)
    bogus = Track(Codec.H264, b"\x00bogus")
    listed = [segment.sequence for segment in window(subject, VIDEO).segments]
    for turn in (1, 2):
        subject.on_track(bogus)
        assert VIDEO not in subject.renditions
        feed(subject, shifted(video, 4000 * turn))
        now = [segment.sequence for segment in window(subject, VIDEO).segments]
        playlist = media_playlist(subject, window(subject, VIDEO), delta=False)
        first = int(playlist.partition("MEDIA-SEQUENCE:")[2].split()[0])
        assert first > max(listed)
        listed = now
    subject.on_track(bogus)
    assert subject.next.sequence > max(listed) + 1


def test_a_header_that_is_bogus_again_and_again_is_one_line_in_the_log(
    clip: list[Track | Packet], caplog: pytest.LogCaptureFixture
) -> None:
    subject = packager()
    good = [item for item in clip if isinstance(item, Track)]
    for turn in range(2000):
        subject.on_track(Track(Codec.H264, b"\x00bogus%d" % turn))
        feed(subject, [*good])
    assert caplog.text.count("track_not_packaged") == 1
