"""Opus, FLAC, MP3, AC-3 and E-AC-3: records, and the frame headers that stand for one."""

import pytest

from protocols.codec import complete, dolby, flac, mp3, opus, packet_duration, parameters
from protocols.codec.description import AudioParameters
from protocols.errors import RemoteProtocolError
from protocols.media import Codec, Track
from tests.protocols.codec.bitwriter import BitWriter
from tests.protocols.mp4.encoded import box_body, encoded

STEREO = b"OpusHead" + bytes.fromhex("010238018 0bb0000 0000 00".replace(" ", ""))
SURROUND = b"OpusHead" + bytes.fromhex("01063801 80bb0000 00ff 01 0402 000401020305".replace(" ", ""))


def test_opus_heads_are_read_and_turned_into_boxes() -> None:
    assert parameters(Track(Codec.OPUS, STEREO)) == AudioParameters(48000, 2, "opus")
    assert opus.specific_box(STEREO).hex() == "0002" + "0138" + "0000bb80" + "0000" + "00"
    assert opus.parameters(SURROUND).channels == 6
    assert opus.specific_box(SURROUND).hex() == "0006" + "0138" + "0000bb80" + "ff00" + "01" + "0402000401020305"


def test_opus_box_is_the_one_libavformat_writes() -> None:
    clip = encoded(Codec.OPUS)
    assert opus.specific_box(clip.track.config) == box_body(clip.file, b"dOps")


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        (b"", "ends in the middle"),
        (STEREO[:18], "ends in the middle"),
        (SURROUND[:-1], "ends in the middle"),
        (b"OpusTags" + STEREO[8:], "without its magic"),
        (b"OpusHead\x10" + STEREO[9:], "version beyond 0"),
        (b"OpusHead\1\0" + STEREO[10:], "0 channels"),
        (b"OpusHead\1\3" + STEREO[10:], "3 channels in mapping family 0"),
    ],
)
def test_a_bogus_opus_head_is_the_senders_fault(config: bytes, complaint: str) -> None:
    with pytest.raises(RemoteProtocolError, match=complaint):
        opus.parameters(config)


@pytest.mark.parametrize(
    ("packet", "samples"),
    [
        (b"", 0),
        (bytes((0 << 3,)), 480),  # SILK, 10 ms, one frame
        (bytes((11 << 3 | 1,)), 5760),  # SILK, 60 ms, two
        (bytes((13 << 3,)), 960),  # hybrid, 20 ms
        (bytes((16 << 3 | 2,)), 240),  # CELT, 2.5 ms, two
        (bytes((31 << 3 | 3, 6)), 5760),  # CELT, 20 ms, six
        (bytes((31 << 3 | 3, 0x80 | 7)), 0),  # seven are over 120 ms
        (bytes((31 << 3 | 3,)), 0),
    ],
)
def test_opus_packets_tell_their_length(packet: bytes, samples: int) -> None:
    assert packet_duration(Track(Codec.OPUS, STEREO), packet) == samples


def test_real_packets_are_as_long_as_libavformat_says() -> None:
    # the encoder cuts the last packet's length to what was put in, which its header does not tell
    for codec in (Codec.AAC, Codec.OPUS, Codec.FLAC, Codec.AC3, Codec.EAC3, Codec.MP3):
        clip = encoded(codec)
        lengths = [packet_duration(clip.track, sample.data) for sample in clip.samples]
        assert lengths[:-1] == [sample.duration for sample in clip.samples[:-1]], codec


def test_a_flac_record_is_read_with_or_without_its_wrapping() -> None:
    info = encoded(Codec.FLAC).track.config
    expected = AudioParameters(48000, 2, "fLaC", 4608)
    for config in (info, b"\0\0\0\x22" + info, b"\x80\0\0\x22" + info, b"fLaC\0\0\0\x22" + info + b"\x84\0\0\0"):
        assert parameters(Track(Codec.FLAC, config)) == expected
        assert flac.specific_box(config) == b"\x80\0\0\x22" + info


def test_flac_blocks_of_changing_length_have_none_in_common() -> None:
    info = encoded(Codec.FLAC).track.config
    assert flac.parameters(b"\0\x10" + info[2:]).samples_per_packet == 0


@pytest.mark.parametrize("config", [b"", b"fLaC", b"\0\0\0\x22" + bytes(33)])
def test_a_flac_record_that_ends_early_is_the_senders_fault(config: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="ends early"):
        flac.parameters(config)


def test_a_flac_record_without_a_rate_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="sample rate"):
        flac.parameters(bytes(34))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("fffb9064", AudioParameters(44100, 2, "mp4a.6B", 1152)),
        ("fffb94c4", AudioParameters(48000, 1, "mp4a.6B", 1152)),
        ("fff39844", AudioParameters(16000, 2, "mp4a.69", 576)),
        ("ffe390c4", AudioParameters(11025, 1, "mp4a.69", 576)),
    ],
)
def test_mp3_headers_complete_a_track(header: str, expected: AudioParameters) -> None:
    bare = Track(Codec.MP3, b"")
    assert parameters(bare) == AudioParameters(0, 0, "mp4a.6B")
    track = complete(bare, bytes.fromhex(header) + bytes(100))
    assert parameters(track) == expected
    # Another bit rate, with a checksum, padded, stereo coded jointly: all that is each frame's own.
    word = int.from_bytes(bytes.fromhex(header), "big")
    for bits in (0x10000, 0x3000, 0x200, 0x30, 0 if expected.channels == 1 else 0x40):
        assert complete(track, (word ^ bits).to_bytes(4, "big") + bytes(100)) is track


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("fffb94c4", AudioParameters(48000, 1, "mp4a.6B", 1152)),
        ("fffb9464", AudioParameters(48000, 2, "mp4a.6B", 1152)),
        ("fff394c4", AudioParameters(24000, 1, "mp4a.69", 576)),
    ],
)
def test_an_mp3_frame_of_another_rate_or_number_of_channels_changes_the_track(header: str, expected: AudioParameters) -> None:
    track = complete(Track(Codec.MP3, b""), bytes.fromhex("fffb90c4"))
    changed = complete(track, bytes.fromhex(header) + bytes(100))
    assert parameters(changed) == expected
    assert complete(changed, bytes.fromhex(header)) is changed
    with pytest.raises(RemoteProtocolError):
        complete(track, b"noise")


@pytest.mark.parametrize(
    ("frame", "complaint"),
    [
        (b"\xff\xfb\x90", "ends in its header"),
        (b"\xff\x1b\x90\x64", "not an MPEG audio"),
        (b"\xff\xeb\x90\x64", "not an MPEG audio"),
        (b"\xff\xfd\x90\x64", "not an MPEG audio"),
        (b"\xff\xfb\x9c\x64", "not an MPEG audio"),
    ],
)
def test_a_frame_that_is_no_mp3_is_the_senders_fault(frame: bytes, complaint: str) -> None:
    with pytest.raises(RemoteProtocolError, match=complaint):
        mp3.complete_record(frame)


def ac3_frame(frequency: int, identification: int, mode: int, lfe: int) -> bytes:
    bits = BitWriter().u(16, 0x0B77, 0).u(2, frequency).u(6, 20).u(5, identification).u(3, 0).u(3, mode)
    if mode & 1 and mode != 1:
        bits.u(2, 0)
    if mode & 4:
        bits.u(2, 0)
    if mode == 2:
        bits.u(2, 0)
    return bytes(bits.u(1, lfe))


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (ac3_frame(0, 8, 7, 1), AudioParameters(48000, 6, "ac-3", 1536)),
        (ac3_frame(1, 8, 2, 0), AudioParameters(44100, 2, "ac-3", 1536)),
        (ac3_frame(2, 6, 1, 0), AudioParameters(32000, 1, "ac-3", 1536)),
        (ac3_frame(0, 9, 3, 0), AudioParameters(24000, 3, "ac-3", 1536)),
        (ac3_frame(0, 8, 4, 1), AudioParameters(48000, 4, "ac-3", 1536)),
    ],
)
def test_ac3_frames_complete_a_track(frame: bytes, expected: AudioParameters) -> None:
    bare = Track(Codec.AC3, b"")
    assert parameters(bare) == AudioParameters(0, 0, "ac-3", 1536)
    assert parameters(complete(bare, frame)) == expected


def other_ac3(frame: bytes) -> bytes:
    """A frame of another bit rate, checksum and kind of service."""
    return frame[:2] + b"cc" + bytes((frame[4] & 0xC0 | 30, frame[5] ^ 2)) + frame[6:]


AC3_FRAMES = [ac3_frame(rate, 8, mode, lfe) for rate in range(3) for mode in range(8) for lfe in range(2)]


def test_ac3_frames_that_differ_change_the_track() -> None:
    """Each after each: another rate, coding mode or low frequencies is a change, and nothing else."""
    for one in AC3_FRAMES:
        track = complete(Track(Codec.AC3, b""), one)
        assert complete(track, other_ac3(one)) is track
        for two in AC3_FRAMES:
            changed = complete(track, two)
            assert (changed is track) == (one is two)
            assert changed == complete(Track(Codec.AC3, b""), two)
        with pytest.raises(RemoteProtocolError, match="sync word"):
            complete(track, b"no" + AC3_FRAMES[0 if one is not AC3_FRAMES[0] else 1][2:])


def test_eac3_frames_that_differ_change_the_track() -> None:
    track = complete(Track(Codec.EAC3, b""), eac3_frame())
    for same in (eac3_frame(size=400), eac3_frame(blocks=1), b"short"):
        assert complete(track, same) is track
    # A substream that leans on the first has channels of its own.
    leaning = bytearray(eac3_frame(mode=2, lfe=0))
    leaning[2] |= 1 << 6
    assert complete(track, bytes(leaning)) is track
    for other in (eac3_frame(frequency=1), eac3_frame(mode=2), eac3_frame(lfe=0), eac3_frame(identification=12)):
        changed = complete(track, other)
        assert changed == complete(Track(Codec.EAC3, b""), other) != track


@pytest.mark.parametrize(("codec", "kind"), [(Codec.AC3, b"dac3"), (Codec.EAC3, b"dec3")])
def test_dolby_records_are_the_ones_libavformat_writes(codec: Codec, kind: bytes) -> None:
    clip = encoded(codec)
    assert clip.track.config == box_body(clip.file, kind)


def eac3_frame(
    size: int = 768, frequency: int = 0, blocks: int = 3, mode: int = 7, lfe: int = 1, identification: int = 16
) -> bytes:
    bits = BitWriter().u(16, 0x0B77).u(5, 0).u(11, size // 2 - 1).u(2, frequency, blocks).u(3, mode).u(1, lfe)
    return bytes(bits.u(5, identification))


def test_eac3_frames_complete_a_track_and_tell_their_length() -> None:
    bare = Track(Codec.EAC3, b"")
    assert parameters(bare) == AudioParameters(0, 0, "ec-3")
    track = complete(bare, eac3_frame())
    assert parameters(track) == AudioParameters(48000, 6, "ec-3")
    assert track.config.hex() == "0600" + f"{16 << 17 | 7 << 9 | 1 << 8:06x}"  # 192 kbit/s, one substream
    assert [packet_duration(track, eac3_frame(blocks=code)) for code in range(4)] == [256, 512, 768, 1536]
    assert packet_duration(track, b"noise") == 0


@pytest.mark.parametrize(
    ("codec", "frame", "complaint"),
    [
        (Codec.AC3, b"", "ends in the middle"),
        (Codec.AC3, b"\x0b\x78" + bytes(8), "sync word"),
        (Codec.AC3, ac3_frame(3, 8, 2, 0), "reserved sample rate"),
        (Codec.AC3, ac3_frame(0, 16, 2, 0), "E-AC-3 frame on an AC-3 track"),
        (Codec.EAC3, eac3_frame(identification=8), "AC-3 frame on an E-AC-3 track"),
        (Codec.EAC3, eac3_frame(frequency=3), "reserved sample rate"),
        (Codec.EAC3, eac3_frame()[:5], "ends in the middle"),
    ],
)
def test_a_frame_that_is_no_dolby_is_the_senders_fault(codec: Codec, frame: bytes, complaint: str) -> None:
    with pytest.raises(RemoteProtocolError, match=complaint):
        complete(Track(codec, b""), frame)


@pytest.mark.parametrize("read", [dolby.ac3_parameters, dolby.eac3_parameters])
def test_a_dolby_record_of_a_reserved_rate_is_refused(read: object) -> None:
    with pytest.raises(RemoteProtocolError, match="reserved sample rate"):
        read(b"\xff" * 5)  # type: ignore[operator]
