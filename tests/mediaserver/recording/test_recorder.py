"""Where files and parts begin, packet by packet, without a disk."""

from collections.abc import Mapping, Sequence

import pytest

from mediaserver.ports import RecordingFormat
from mediaserver.recording.containers import FORMS
from mediaserver.recording.recorder import MOST_OF_PART, Limits, Recorder
from protocols.media import Codec, MediaKind, Metadata, Packet, Track
from tests.protocols.mp4.encoded import encoded
from tests.protocols.mp4.test_boxes import ASC, AVC

VIDEO, AUDIO = MediaKind.VIDEO, MediaKind.AUDIO
AAC = Track(Codec.AAC, ASC)


class Files:
    """An Output that keeps everything: per file its tracks, its parts, and why it ended. ``full``: parts are thrown away."""

    def __init__(self) -> None:
        self.tracks: list[set[MediaKind]] = []
        self.parts: list[list[list[int]]] = []
        self.reasons: list[str] = []
        self.left_out: list[str] = []
        self.ended = False
        self.full = False
        self.ready = True

    def begin(self, tracks: Mapping[MediaKind, Track]) -> None:
        self.tracks.append(set(tracks))
        self.parts.append([])

    def part(self, packets: Sequence[Packet], *, last: bool) -> bool:
        if not self.full:
            self.parts[-1].append([packet.dts for packet in packets])
        return not self.full

    def leave_out(self, reason: str) -> None:
        self.left_out.append(reason)

    def finish(self, reason: str) -> None:
        self.reasons.append(reason)

    def end(self) -> None:
        self.ended = True


def recorder(files: Files, form: RecordingFormat = RecordingFormat.MP4, limits: Limits | None = None) -> Recorder:
    return Recorder(lambda: {"name": "show"}, FORMS[form], limits or Limits(), files)


def picture(dts: int, *, keyframe: bool = False, cts: int = 0, discontinuity: bool = False, body: bytes = b"12345x") -> Packet:
    return Packet(VIDEO, dts, keyframe, body, 5, cts, discontinuity)


def sound(dts: int) -> Packet:
    return Packet(AUDIO, dts, True, b"12x", 2)


def push(subject: Recorder, *items: Track | Packet) -> None:
    for item in items:
        if isinstance(item, Track):
            subject.on_track(item)
        else:
            subject.on_packet(item)


def test_parts_end_at_keyframes_and_after_three_quarters_of_a_second() -> None:
    files = Files()
    push(recorder(files), AVC, *(picture(dts, keyframe=dts % 1000 == 0) for dts in range(0, 2600, 100)))
    assert [[part[0], part[-1]] for part in files.parts[0]] == [[0, 700], [800, 900], [1000, 1700], [1800, 1900]]


def test_what_nobody_can_use_is_left_out() -> None:
    files = Files()
    subject = recorder(files)
    push(subject, sound(0), AVC, AAC, picture(0), sound(0), picture(40, keyframe=True, body=b"12345"), picture(80, keyframe=True))
    subject.on_metadata(Metadata(b""))
    push(subject, picture(120, cts=-80), sound(80), picture(160))
    subject.on_end()
    assert files.parts == [[[80, 80, 160]]]
    assert files.reasons == ["the stream ended"]
    assert files.ended


def test_sound_waits_for_a_picture_and_not_for_ever() -> None:
    files = Files()
    subject = recorder(files)
    push(subject, AVC, AAC, *(sound(dts) for dts in range(0, 4000, 20)))
    subject.on_away()
    assert files.tracks == [{VIDEO, AUDIO}]
    assert files.parts[0][0][0] == 3020
    push(subject, picture(4000), picture(4040, keyframe=True))
    subject.finish("stopped")
    assert files.parts[0][-1] == [4040]
    assert files.reasons == ["stopped"]


def test_a_track_that_comes_late_or_goes_begins_another_file_at_a_keyframe() -> None:
    files = Files()
    subject = recorder(files)
    push(subject, AVC, picture(0, keyframe=True), *(picture(dts) for dts in range(40, 1000, 40)), AAC, sound(1000))
    push(subject, picture(1040), picture(1080, keyframe=True), sound(1080))
    push(subject, Track(Codec.SPEEX, b""), sound(1100), Track(Codec.SPEEX, b"other"), picture(1120, keyframe=True))
    subject.on_end()
    assert files.tracks == [{VIDEO}, {VIDEO, AUDIO}, {VIDEO}]
    without = "without sound: speex has no ISO BMFF form here"
    assert files.reasons == ["its parameters changed", "its parameters changed", f"the stream ended; {without}"]
    assert files.left_out == [without]
    assert [part for file in files.parts[1:] for part in file] == [[1080, 1080], [1120]]


def test_new_parameters_before_anything_is_written_join_or_end() -> None:
    files = Files()
    subject = recorder(files)
    other = Track(Codec.AAC, bytes.fromhex("1190"))
    push(subject, AVC, AAC, picture(0, keyframe=True), other, sound(10), AAC, sound(20), picture(40), picture(80, keyframe=True))
    subject.on_end()
    assert files.parts == [[[0, 10, 40]], [[80]]]


def test_a_track_that_only_a_packet_completes_waits_for_it() -> None:
    files = Files()
    subject = recorder(files)
    mp3 = encoded(Codec.MP3)
    frame = Packet(AUDIO, 0, True, b"1" + mp3.samples[0].data, 1)
    push(subject, Track(Codec.MP3, b""), Packet(AUDIO, 0, True, b"1no frame", 1), frame, AAC, sound(30))
    subject.on_end()
    assert files.parts == [[[0]], [[30]]]


@pytest.mark.parametrize(
    ("form", "parts"),
    [
        (RecordingFormat.FLV, [[[0, 0, 30, 60, 90]]]),
        (RecordingFormat.TS, [[[0, 0, 30, 60, 90]]]),
        (RecordingFormat.MKV, [[[0, 0, 60]], [[90]]]),
        (RecordingFormat.MP4, [[[0, 0, 60]], [[90]]]),
    ],
)
def test_sound_that_changes_ends_only_a_file_whose_head_says_what_it_is(
    form: RecordingFormat, parts: list[list[list[int]]]
) -> None:
    files = Files()
    subject = recorder(files, form)
    head, mode, rest = (data := encoded(Codec.MP3).samples[0].data)[:3], data[3], data[4:]
    stereo, mono = (head + bytes([told]) + rest for told in (mode & 0x3F, mode | 0xC0))
    frames = [Packet(AUDIO, dts, True, b"1" + frame, 1) for dts, frame in ((0, stereo), (30, mono))]
    pictures = [picture(dts, keyframe=dts != 60) for dts in (0, 60, 90)]
    push(subject, AVC, Track(Codec.MP3, b""), pictures[0], *frames, *pictures[1:])
    subject.on_end()
    assert files.parts == parts


def test_after_a_part_was_thrown_away_pictures_begin_anew_when_there_is_room() -> None:
    files = Files()
    subject = recorder(files)
    push(subject, AVC, picture(0, keyframe=True), *(picture(dts) for dts in range(100, 800, 100)))
    files.full, files.ready = True, False
    push(subject, *(picture(dts, keyframe=dts == 1000) for dts in range(800, 1600, 100)))
    push(subject, *(picture(dts, keyframe=dts == 2000) for dts in range(1600, 2200, 100)))
    files.full = False
    push(subject, picture(2200, keyframe=True))
    files.ready = True
    push(subject, picture(2300), picture(2400, keyframe=True), picture(2500))
    subject.on_end()
    kept = [dts for part in files.parts[0] for dts in part]
    assert kept[-2:] == [2400, 2500]
    assert 2300 not in kept
    assert len(files.parts) == 1


def test_pictures_after_a_break_wait_for_a_keyframe() -> None:
    files = Files()
    subject = recorder(files)
    push(subject, AVC, picture(0, keyframe=True), picture(40, discontinuity=True), picture(80), picture(120, keyframe=True))
    push(subject, picture(160, keyframe=True, discontinuity=True), picture(200, cts=-40))
    subject.on_end()
    assert files.parts[0] == [[0, 120, 160, 200]]


def test_sound_alone_is_split_anywhere() -> None:
    files = Files()
    subject = recorder(files, limits=Limits(seconds=1.0))
    push(subject, AAC, *(sound(dts) for dts in range(0, 2500, 100)))
    subject.on_end()
    assert [[file[0][0], file[-1][-1]] for file in files.parts] == [[0, 900], [1000, 1900], [2000, 2400]]


def test_enormous_packets_with_tiny_steps_in_time_fill_no_memory() -> None:
    files = Files()
    subject = recorder(files)
    push(subject, AVC, picture(0, keyframe=True))
    for time in range(1, 101):
        push(subject, picture(time, body=bytes(1 << 20)))
        assert sum(len(packet.body) for packet in subject._pending) <= MOST_OF_PART + (1 << 20)
    subject.finish("stopped")
    assert [time for part in files.parts[0] for time in part] == list(range(101))
