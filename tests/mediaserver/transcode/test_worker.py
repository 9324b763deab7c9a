"""What a transcoder's process makes of real clips: every picture, in its size, at its time, keyframes in step."""

import subprocess
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from mediaserver.ports import Ladder, Rung
from mediaserver.transcode.plan import AUDIO_LANE, sounds_as_values
from mediaserver.worker.frames import Frame, Note, PacketFrame, TrackFrame
from protocols import codec
from protocols.media import Codec, MediaKind, Packet, Track
from tests.media import Clips
from tests.mediaserver.transcode.material import changed, decoded, pictures, sound, source, transcode
from tests.peers import program

FRAMES = 150


@pytest.fixture
def clip(clips: Clips) -> list[Frame]:
    return source(clips.get(width=426, height=240, seconds=6, gop=30))


def test_every_picture_of_every_rung_is_there_in_its_size_and_at_its_time(clip: list[Frame]) -> None:
    made = transcode(clip, Ladder((Rung("240p", 240, reencode=True), Rung("144p", 144))))
    times = sorted(packet.pts for packet in pictures(clip))
    for rung, size in (("240p", (426, 240)), ("144p", (256, 144))):
        assert {(frame.width, frame.height) for frame in made.decoded(rung)} == {size}
        assert made.numbers(rung) == list(range(FRAMES))
        packets = made.packets(rung)
        assert sorted(packet.pts for packet in packets) == times
        stamps = [packet.dts for packet in packets]
        assert stamps == sorted(set(stamps))
        assert all(packet.cts >= 0 for packet in packets)


def test_keyframes_of_all_rungs_are_where_the_source_has_them_and_nowhere_else(clip: list[Frame]) -> None:
    made = transcode(clip, Ladder((Rung("240p", 240, reencode=True), Rung("144p", 144))))
    wanted = [packet.pts for packet in pictures(clip) if packet.keyframe]
    assert len(wanted) == 5
    for rung in ("240p", "144p"):
        keys = [packet for packet in made.packets(rung) if packet.keyframe]
        assert [packet.pts for packet in keys] == wanted
        assert all(codec.is_keyframe(Codec.H264, packet.payload) for packet in keys), "marked, and not instantaneous refresh"


@pytest.mark.parametrize(("interval", "added"), [(1.0, 1000), (3.0, None)])
def test_with_an_interval_keyframes_are_where_the_source_has_them_and_no_further_apart_than_that(
    clip: list[Frame], interval: float, added: int | None
) -> None:
    """In all rungs: a segment of the source begins at any keyframe of it, and that of a rendition must begin there too."""
    made = transcode(clip, Ladder((Rung("240p", 240), Rung("144p", 144)), keyframe_interval=interval))
    keys = {rung: [packet.pts for packet in made.packets(rung) if packet.keyframe] for rung in ("240p", "144p")}
    assert keys["240p"] == keys["144p"]
    wanted = [packet.pts for packet in pictures(clip) if packet.keyframe]
    between = [] if added is None else [time + added for time in wanted]
    last = max(packet.pts for packet in pictures(clip))
    assert keys["240p"] == sorted(wanted + [time for time in between if time <= last])


@pytest.mark.parametrize(("wanted", "encoder"), [(Codec.HEVC, "libx265"), (Codec.AV1, "libsvtav1")])
def test_other_codecs_are_encoded_with_their_configuration(clip: list[Frame], wanted: Codec, encoder: str) -> None:
    made = transcode(clip[:130], Ladder((Rung("144p", 144, codec=wanted),)), encoder=encoder, fallback="")
    assert made.failures == []
    (track,) = made.tracks("144p")
    described = codec.parameters(track)
    assert (described.width, described.height) == (256, 144)
    sent = len(pictures(clip[:130]))
    assert made.numbers("144p") == list(range(sent))
    assert [packet.pts for packet in made.packets("144p") if packet.keyframe] == [
        packet.pts for packet in pictures(clip[:130]) if packet.keyframe
    ]


def test_a_cap_leaves_out_pictures_and_keeps_keyframes(clip: list[Frame]) -> None:
    made = transcode(clip, Ladder((Rung("144p", 144, frame_rate=12.5),)))
    packets = made.packets("144p")
    assert abs(len(packets) - FRAMES / 2) <= 5
    assert [packet.pts for packet in packets if packet.keyframe] == [p.pts for p in pictures(clip) if p.keyframe]


def test_an_encoder_that_fails_at_its_100th_picture_is_replaced_and_no_picture_is_missing(clip: list[Frame]) -> None:
    made = transcode(clip, Ladder((Rung("144p", 144),)), encoder="fails_at_100")
    (failure,) = made.failures
    assert (failure["failed"], failure["fallback"]) == ("144p", "libx264")
    assert "out of order" in failure["reason"]
    numbers = made.numbers("144p")
    assert numbers == sorted(set(numbers))
    # Pictures between two that the failed one has given out already cannot be made up for.
    assert len(set(range(FRAMES)) - set(numbers)) <= 3
    stamps = [packet.dts for packet in made.packets("144p")]
    assert stamps == sorted(set(stamps))


def test_an_encoder_that_does_not_open_is_replaced_at_once(clip: list[Frame]) -> None:
    made = transcode(clip, encoder="never_opens")
    assert {failure["failed"] for failure in made.failures} == {"144p"}
    assert made.numbers("144p") == list(range(FRAMES))


def test_a_rung_without_a_fallback_is_given_up_and_the_smaller_ones_go_on(clip: list[Frame]) -> None:
    ladder = Ladder((Rung("200p", 200), Rung("144p", 144)))
    made = transcode(clip, ladder, encoder="fails_at_100", fallback="")
    assert [failure["failed"] for failure in made.failures] == ["200p", "144p"]
    assert len(made.packets("144p")) > 80


def test_what_cannot_be_decoded_costs_pictures_and_nothing_else(clip: list[Frame]) -> None:
    broken = list(clip)
    places = [place for place, frame in enumerate(clip) if isinstance(frame, PacketFrame) and frame.packet in pictures(clip)]
    for number, harm in (
        (10, b""),
        (11, b"\0\0"),
        (12, b"\xff" * 300),
        (13, bytes(300)),
        (45, b"\0\0\0\x05abcde"),
        (50, b"\x7f" * 9),
    ):
        packet = clip[places[number]].packet  # type: ignore[union-attr]
        broken[places[number]] = PacketFrame(
            0, Packet(packet.kind, packet.dts, packet.keyframe, packet.body[:5] + harm, 5, packet.cts)
        )
    made = transcode(broken)
    assert set(range(60, FRAMES)) <= set(made.numbers("144p")), "all is well again behind the next keyframe"
    times = [frame.pts for frame in made.decoded("144p")]
    assert times == sorted(set(times))


def test_a_broken_header_is_waited_out(clip: list[Frame]) -> None:
    (track,) = (frame.track for frame in clip if isinstance(frame, TrackFrame) and frame.track.codec is Codec.H264)
    bad = TrackFrame(0, Track(Codec.H264, b"\x01\xff\xff", b""))
    made = transcode([bad, *(frame for frame in clip if not isinstance(frame, TrackFrame)), TrackFrame(0, track), *clip[2:]])
    assert set(range(FRAMES)) >= set(made.numbers("144p")) >= set(range(30, FRAMES))


def test_behind_a_discontinuity_all_that_was_inside_has_come_out(clip: list[Frame]) -> None:
    later = changed(clip, dts=lambda packet: packet.dts + 20_000)
    pictures(later)[0].discontinuity = True
    made = transcode([*clip, *later])
    assert made.numbers("144p") == [*range(FRAMES), *range(FRAMES)]
    marked = [packet for packet in made.packets("144p") if packet.discontinuity]
    assert [packet.pts for packet in marked] == [pictures(later)[0].pts]
    assert len(made.tracks("144p")) == 2
    assert len(set(made.tracks("144p"))) == 1


def test_told_to_flush_it_gives_out_every_picture_and_all_sound_before_it_says_so(clip: list[Frame], clips: Clips) -> None:
    later = changed(clip, dts=lambda packet: packet.dts + 20_000)
    pictures(later)[0].discontinuity = sound(later)[0].discontinuity = True
    made = transcode([*clip, Note({"flush": 7, "sound": True}), *later])
    said = next(place for place, frame in enumerate(made.frames) if frame == Note({"flushed": 7}))
    before, behind = replace(made, frames=made.frames[:said]), replace(made, frames=made.frames[said:])
    assert before.numbers("144p") == list(range(FRAMES))
    assert abs(sound(before.sound())[-1].dts - sound(clip)[-1].dts) < 80
    assert behind.numbers("144p") == list(range(FRAMES))
    assert behind.packets("144p")[0].discontinuity


def test_a_flush_of_pictures_alone_leaves_sound_without_a_seam(clips: Clips) -> None:
    frames = source(clips.get(audio="mp3", b_frames=0))
    half = len(frames) // 2
    made = transcode([*frames[:half], Note({"flush": 1, "sound": False}), *frames[half:]])
    assert [packet.dts for packet in sound(made.sound())] == [packet.dts for packet in sound(transcode(frames).sound())]
    given = len(pictures(frames[:half]))
    assert made.numbers("144p") == [*range(given), *range(-(-given // 25) * 25, 100)], "it goes on with a keyframe"


def test_a_change_of_size_is_seen_and_the_ladder_fitted_anew(clip: list[Frame], clips: Clips) -> None:
    tall = changed(source(clips.get(width=320, height=240, seconds=2)), dts=lambda packet: packet.dts + 6_000)
    made = transcode([*clip, *tall])
    assert [(sight.width, sight.height) for sight in made.sights] == [(426, 240), (320, 240)]
    sizes = [(frame.width, frame.height) for frame in made.decoded("144p")]
    assert sizes == [(256, 144)] * FRAMES + [(192, 144)] * 50
    assert made.numbers("144p") == [*range(FRAMES), *range(50)]


def test_the_same_parameters_again_change_nothing(clip: list[Frame]) -> None:
    half = next(
        place for place, frame in enumerate(clip) if isinstance(frame, PacketFrame) and frame.packet is pictures(clip)[60]
    )
    made = transcode([*clip[:half], *clip[:2], *clip[half:]])
    assert len(made.sights) == 1
    assert made.numbers("144p") == list(range(FRAMES))


def ffmpeg(folder: Path, *options: str) -> list[Frame]:
    file = folder / "made.flv"
    subprocess.run([program("ffmpeg"), "-v", "error", "-y", *options, "-an", "-f", "flv", str(file)], check=True)
    return source(file)


def test_fields_become_frames(clips: Clips, tmp_path: Path) -> None:
    # A bar that moves shows its teeth where fields are woven.
    fields = ffmpeg(
        tmp_path, "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=50", "-t", "2", "-vf", "interlace", "-c:v", "libx264",
        "-flags", "+ilme+ildct", "-pix_fmt", "yuv420p", "-g", "25",
    )  # fmt: skip
    made = transcode(fields, Ladder((Rung("240p", 240),)))
    assert made.sights[-1].interlaced
    frames = made.decoded("240p")
    assert len(frames) == len(pictures(fields))
    assert not any(frame.interlaced_frame for frame in frames)

    def teeth(shown: list[object]) -> float:
        luma = np.stack([frame.to_ndarray(format="gray") for frame in shown[5:]]).astype(int)  # type: ignore[attr-defined]
        return float(np.abs(2 * luma[:, 1:-1] - luma[:, :-2] - luma[:, 2:]).mean())

    assert teeth(frames) < 0.7 * teeth(decoded(fields[:1] + [frame for frame in fields if frame not in fields[:1]]))


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_rotated_pictures_stand_upright(clips: Clips, tmp_path: Path, turn: int) -> None:
    upright = clips.get(width=320, height=192, seconds=1, audio="")
    filters = {90: "transpose=cclock", 180: "hflip,vflip", 270: "transpose=clock"}[turn]
    said = f"h264_metadata=display_orientation=insert:rotate={360 - turn}"
    turned = ffmpeg(tmp_path, "-i", str(upright), "-vf", filters, "-c:v", "libx264", "-bsf:v", said)
    made = transcode(turned, Ladder((Rung("144p", 144),)))
    assert made.sights[0].rotation == turn
    assert {(frame.width, frame.height) for frame in made.decoded("144p")} == {(240, 144)}
    assert made.numbers("144p") == list(range(25))


@pytest.mark.parametrize("coded", ["gbrp", "yuv420p"])
def test_pictures_of_rgb_become_legal_ones_of_the_same_colours(tmp_path: Path, coded: str) -> None:
    """RGB's matrix is forbidden beside subsampled colours (H.264, E.2.1); some publishers say it of such pictures even so."""
    colour = (200, 40, 90)
    drawn = f"color=c=0x{bytes(colour).hex()}:size=320x240:rate=25"
    how = ("-c:v", "libx264rgb") if coded == "gbrp" else ("-c:v", "libx264", "-bsf:v", "h264_metadata=matrix_coefficients=0")
    made = transcode(
        ffmpeg(tmp_path, "-f", "lavfi", "-i", drawn, "-t", "1", "-pix_fmt", coded, *how), Ladder((Rung("144p", 144),))
    )
    frames = made.decoded("144p")
    assert len(frames) == 25
    assert {frame.format.name for frame in frames} == {"yuv420p"}, "and not in full range, which has a name of its own"
    assert {frame.colorspace for frame in frames} == {1 if coded == "gbrp" else 2}
    shown = frames[-1].to_ndarray(format="rgb24").reshape(-1, 3).mean(axis=0)
    assert np.abs(shown - colour).max() < 5


@pytest.mark.parametrize("foreign", ["mp3", "opus", "flac", "ac3"])
def test_sound_of_other_codecs_becomes_aac_at_its_time_and_as_loud(clips: Clips, foreign: str) -> None:
    file = clips.get(audio=foreign, container="flv") if foreign == "mp3" else None
    frames = source(file) if file else _enhanced(clips, foreign)
    made = transcode(frames)
    track = next(frame.track for frame in made.sound() if isinstance(frame, TrackFrame))
    assert track.codec is Codec.AAC
    packets = sound(made.sound())
    stamps = [packet.dts for packet in packets]
    assert stamps == sorted(stamps)
    assert abs(stamps[-1] - sound(frames)[-1].dts) < 80
    assert all(15 <= two - one <= 29 for one, two in pairwise(stamps[2:])), "no gap, no overlap"
    heard = np.concatenate([frame.to_ndarray() for frame in decoded(made.sound())], axis=1)[:, 10_000:100_000]
    assert 0.13 < float(np.sqrt((heard**2).mean())) < 0.15, "a sine of 0.2"


@pytest.mark.parametrize("codec_of", ["aac", "mp3"])
def test_sound_is_encoded_at_each_bit_rate_that_is_asked_for(clips: Clips, codec_of: str) -> None:
    frames = source(
        clips.get(audio=codec_of, container="flv") if codec_of == "mp3" else clips.get(width=426, height=240, seconds=6)
    )
    made = transcode(frames, sounds={3: 160_000, 7: 32_000, AUDIO_LANE: 0})
    rates = {}
    for lane in (3, 7, AUDIO_LANE):
        packets = sound(made.sound(lane))
        assert [packet.dts for packet in packets] == [packet.dts for packet in sound(made.sound())]
        heard = np.concatenate([frame.to_ndarray() for frame in decoded(made.sound(lane))], axis=1)[:, 10_000:100_000]
        assert 0.13 < float(np.sqrt((heard**2).mean())) < 0.15, "a sine of 0.2"
        rates[lane] = sum(len(packet.payload) for packet in packets) * 8000 / (packets[-1].dts - packets[0].dts)
    assert rates[7] < 45_000
    assert rates[7] < rates[AUDIO_LANE] < rates[3], "of a pure tone, an encoder needs less than it may have"


def test_sound_that_is_asked_for_later_comes_from_then_on_and_other_sound_goes_on(clips: Clips) -> None:
    frames = [frame for frame in source(clips.get(width=426, height=240, seconds=6)) if not is_picture(frame)]
    half = len(frames) // 2
    later: list[Frame] = [*frames[:half], Note(sounds_as_values({AUDIO_LANE: 0, 3: 64_000})), *frames[half:]]
    made = transcode(later)
    whole, part = (sound(made.sound(lane)) for lane in (AUDIO_LANE, 3))
    assert abs(part[0].dts - (whole[0].dts + whole[-1].dts) // 2) < 100
    assert abs(part[-1].dts - whole[-1].dts) <= 1
    assert all(15 <= two.dts - one.dts <= 29 for one, two in pairwise(whole[2:])), "no gap, no overlap"


def is_picture(frame: Frame) -> bool:
    return isinstance(frame, PacketFrame) and frame.packet.kind is MediaKind.VIDEO


def _enhanced(clips: Clips, audio: str) -> list[Frame]:
    """FLV of FFmpeg 8 has FourCC sound."""
    return source(clips.get(audio=audio))


def test_other_parameters_of_the_same_size_are_reported_too(clip: list[Frame], clips: Clips) -> None:
    again = changed(source(clips.get(width=426, height=240, seconds=2, b_frames=0)), dts=lambda packet: packet.dts + 6_000)
    made = transcode([*clip, *again])
    assert [(sight.width, sight.height) for sight in made.sights] == [(426, 240), (426, 240)]
    assert made.numbers("144p") == [*range(FRAMES), *range(50)]
