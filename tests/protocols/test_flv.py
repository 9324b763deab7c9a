import struct

import pytest

from protocols import flv
from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.flv import AUDIO, DATA, VIDEO, FlvReader, TagReader
from protocols.media import Codec, MediaKind, Packet, Track
from protocols.rtmp import amf0

AVC_HEADER = bytes.fromhex("17 00 000000") + b"avcC"
AAC_HEADER = bytes.fromhex("af 00 1210")


@pytest.fixture
def reader() -> TagReader:
    """A reader that knows an H.264 and an AAC track."""
    reader = TagReader()
    assert reader.read(VIDEO, 0, AVC_HEADER) == Track(Codec.H264, b"avcC", AVC_HEADER)
    assert reader.read(AUDIO, 0, AAC_HEADER) == Track(Codec.AAC, b"\x12\x10", AAC_HEADER)
    return reader


def video(body: bytes, *, keyframe: bool, offset: int, cts: int = 0, dts: int = 40) -> Packet:
    return Packet(MediaKind.VIDEO, dts, keyframe, body, offset, cts)


def audio(body: bytes, *, offset: int, dts: int = 40) -> Packet:
    return Packet(MediaKind.AUDIO, dts, True, body, offset)


class TestLegacyVideo:
    @pytest.mark.parametrize(("first", "keyframe"), [(0x17, True), (0x27, False), (0x37, False), (0x47, True)])
    @pytest.mark.parametrize(
        ("cts", "milliseconds"), [("000000", 0), ("000021", 33), ("ffffdf", -33), ("7fffff", 8388607), ("800000", -8388608)]
    )
    def test_h264_pictures_with_their_composition_time(self, reader, first, keyframe, cts, milliseconds):
        body = bytes((first, 1)) + bytes.fromhex(cts) + b"nal"
        packet = reader.read(VIDEO, 40, body)
        assert packet == video(body, keyframe=keyframe, offset=5, cts=milliseconds)
        assert packet.body is body
        assert packet.payload == b"nal"
        assert packet.pts == 40 + milliseconds

    def test_hevc_under_the_number_12_as_some_encoders_push_it(self):
        reader = TagReader()
        header = bytes.fromhex("1c 00 000000") + b"hvcC"
        assert reader.read(VIDEO, 0, header) == Track(Codec.HEVC, b"hvcC", header)
        body = bytes.fromhex("2c 01 000010") + b"nal"
        assert reader.read(VIDEO, 40, body) == video(body, keyframe=False, offset=5, cts=16)

    @pytest.mark.parametrize(("codec_id", "codec", "offset"), [(2, Codec.H263, 1), (4, Codec.VP6, 2)])
    def test_codecs_without_header_declare_themselves_with_their_first_packet(self, codec_id, codec, offset):
        reader = TagReader()
        body = bytes((0x10 | codec_id,)) + b"\x00picture"
        assert reader.read(VIDEO, 40, body) == Track(codec, b"")
        assert reader.read(VIDEO, 40, body) == video(body, keyframe=True, offset=offset)
        assert reader.read(VIDEO, 40, bytes((0x20 | codec_id,)) + b"\x00p").keyframe is False

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"\x57\x00",
            b"\x57\x01\x00\x00\x00nal",
            b"\x17\x02\x00\x00\x00",
            b"\x27\x01\x00\x00\x00",
            b"\x17\x01\x00\x00\x00",
            AVC_HEADER,
        ],
        ids=["empty", "seek", "command", "end of sequence", "no data", "no data in a keyframe", "the same header"],
    )
    def test_what_carries_nothing_is_nothing_and_no_fault(self, reader, body):
        assert reader.read(VIDEO, 40, body) is None
        assert reader.ignored == 0

    @pytest.mark.parametrize(
        "body",
        [
            b"\x17",
            b"\x17\x01\x00",
            b"\x17\x03\x00\x00\x00x",
            b"\x13\x00",
            b"\x15\x00",
            b"\x16\x00",
            b"\x1f\x00",
            b"\x17\x00\x00\x00\x00",
        ],
        ids=["one byte", "cut short", "packet type 3", "screen", "alpha", "screen 2", "codec 15", "empty header"],
    )
    def test_what_is_malformed_or_unknown_is_counted(self, reader, body):
        assert reader.read(VIDEO, 40, body) is None
        assert reader.ignored == 1


class TestLegacyAudio:
    def test_aac_frames(self, reader):
        body = b"\xaf\x01frame"
        packet = reader.read(AUDIO, 40, body)
        assert packet == audio(body, offset=2)
        assert packet.payload == b"frame"
        assert reader.read(AUDIO, 40, b"\xae\x01frame").payload == b"frame"

    @pytest.mark.parametrize(
        ("first", "codec"),
        [
            (0x02, Codec.PCM_S16LE),
            (0x12, Codec.ADPCM_SWF),
            (0x2F, Codec.MP3),
            (0x3E, Codec.PCM_S16LE),
            (0x42, Codec.NELLYMOSER),
            (0x52, Codec.NELLYMOSER),
            (0x62, Codec.NELLYMOSER),
            (0x72, Codec.PCM_ALAW),
            (0x82, Codec.PCM_MULAW),
            (0xB6, Codec.SPEEX),
            (0xE2, Codec.MP3),
        ],
    )
    def test_codecs_without_header_declare_themselves_with_their_first_packet(self, reader, first, codec):
        body = bytes((first,)) + b"frame"
        assert reader.read(AUDIO, 40, body) == Track(codec, b"")
        assert reader.read(AUDIO, 40, body) == audio(body, offset=1)
        assert reader.ignored == 0

    @pytest.mark.parametrize(
        "body", [b"", b"\xaf\x01", b"\x2f", AAC_HEADER], ids=["silence", "no data", "no MP3 data", "the same header"]
    )
    def test_what_carries_nothing_is_nothing_and_no_fault(self, reader, body):
        assert reader.read(AUDIO, 40, body) is None
        assert reader.ignored == 0

    @pytest.mark.parametrize(
        "body",
        [b"\xaf", b"\xaf\x02x", b"\xaf\x00", b"\x3cx", b"\x00x", b"\xc0x", b"\xd0x", b"\xf0x"],
        ids=["one byte", "packet type 2", "empty header", "8 bits", "8 bits in any order", "12", "13", "device"],
    )
    def test_what_is_malformed_or_unknown_is_counted(self, reader, body):
        assert reader.read(AUDIO, 40, body) is None
        assert reader.ignored == 1


class TestHeaders:
    def test_packets_before_their_header_are_ignored(self):
        reader = TagReader()
        assert reader.read(VIDEO, 0, b"\x17\x01\x00\x00\x00nal") is None
        assert reader.read(AUDIO, 0, b"\xaf\x01frame") is None
        assert reader.read(VIDEO, 0, b"\x91hvc1\x00\x00\x00nal") is None
        assert reader.ignored == 3

    def test_a_header_that_changes_is_a_new_track(self, reader):
        changed = AVC_HEADER + b"!"
        assert reader.read(VIDEO, 0, changed) == Track(Codec.H264, b"avcC!", changed)
        assert reader.read(VIDEO, 0, changed) is None
        assert isinstance(reader.read(VIDEO, 0, AVC_HEADER), Track)

    def test_packets_of_the_codec_before_the_change_are_ignored(self, reader):
        assert isinstance(reader.read(VIDEO, 0, b"\x90hvc1hvcC"), Track)
        assert reader.read(VIDEO, 0, b"\x27\x01\x00\x00\x00nal") is None
        assert isinstance(reader.read(AUDIO, 0, b"\x90Opus"), Track)
        assert reader.read(AUDIO, 0, b"\xaf\x01frame") is None
        assert reader.ignored == 2
        assert isinstance(reader.read(VIDEO, 0, b"\xa3hvc1nal"), Packet)

    def test_a_header_beyond_reason_is_ignored(self, reader):
        assert reader.read(VIDEO, 0, AVC_HEADER + bytes(flv.MAX_HEADER)) is None
        assert reader.ignored == 1

    def test_other_tag_types_are_not_read(self, reader):
        assert reader.read(DATA, 0, b"\x02") is None
        assert reader.ignored == 0


class TestEnhanced:
    @pytest.mark.parametrize(
        ("fourcc", "codec", "with_cts"),
        [
            (b"avc1", Codec.H264, True),
            (b"hvc1", Codec.HEVC, True),
            (b"av01", Codec.AV1, False),
            (b"vp09", Codec.VP9, False),
            (b"vp08", Codec.VP8, False),
        ],
    )
    def test_video(self, fourcc, codec, with_cts):
        reader = TagReader()
        header = b"\x90" + fourcc + b"config"
        assert reader.read(VIDEO, 0, header) == Track(codec, b"config", header)
        assert reader.read(VIDEO, 0, header) is None
        body = b"\x91" + fourcc + b"\xff\xff\xfedata"
        expected = video(body, keyframe=True, offset=8, cts=-2) if with_cts else video(body, keyframe=True, offset=5)
        assert reader.read(VIDEO, 40, body) == expected
        body = b"\xa3" + fourcc + b"data"
        assert reader.read(VIDEO, 40, body) == video(body, keyframe=False, offset=5)
        assert reader.read(VIDEO, 40, b"\x92" + fourcc) is None
        assert reader.read(VIDEO, 40, b"\xa3" + fourcc) is None
        assert reader.read(VIDEO, 40, b"\x95" + fourcc + b"descriptor") is None
        assert reader.ignored == 0

    @pytest.mark.parametrize(
        ("header", "config", "codec"),
        [
            (b"\x90mp4a\x12\x10", b"\x12\x10", Codec.AAC),
            (
                b"\x90OpusOpusHead\x01\x01\x00\x00\x80\xbb\x00\x00\x00\x00\x00",
                b"OpusHead\x01\x01\x00\x00\x80\xbb\x00\x00\x00\x00\x00",
                Codec.OPUS,
            ),
            (b"\x90Opus", b"OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00", Codec.OPUS),
            (b"\x90fLaCfLaC\x80\x00\x00\x22" + b"s" * 34 + b"more", b"s" * 34, Codec.FLAC),
            (b"\x90fLaC" + b"s" * 34, b"s" * 34, Codec.FLAC),
            (b"\x90ac-3", b"", Codec.AC3),
        ],
        ids=["aac", "opus", "opus without head", "flac", "flac, bare", "ac-3"],
    )
    def test_audio_headers(self, header, config, codec):
        reader = TagReader()
        assert reader.read(AUDIO, 0, header) == Track(codec, config, header)
        body = b"\x91" + header[1:5] + b"frame"
        assert reader.read(AUDIO, 40, body) == audio(body, offset=5)
        assert reader.read(AUDIO, 40, b"\x94" + header[1:5] + b"\x00\x02") is None
        assert reader.ignored == 0

    @pytest.mark.parametrize(("fourcc", "codec"), [(b".mp3", Codec.MP3), (b"ac-3", Codec.AC3), (b"ec-3", Codec.EAC3)])
    def test_audio_without_header(self, fourcc, codec):
        reader = TagReader()
        body = b"\x91" + fourcc + b"frame"
        assert reader.read(AUDIO, 40, body) == Track(codec, b"")
        assert reader.read(AUDIO, 40, body) == audio(body, offset=5)

    def test_modifiers_come_before_and_the_body_stays_as_it_came(self):
        reader = TagReader()
        reader.read(VIDEO, 0, b"\x90av01av1C")
        body = b"\xa7\x02\x00\x00\x01\x01av01data"
        assert reader.read(VIDEO, 40, body) == video(body, keyframe=False, offset=10)

    def test_one_numbered_track_becomes_a_plain_one_and_others_are_remembered_but_not_passed_on(self):
        reader = TagReader()
        assert reader.read(VIDEO, 0, b"\x96\x00avc1\x00avcC") == Track(Codec.H264, b"avcC", b"\x90avc1avcC")
        assert reader.read(VIDEO, 0, b"\x96\x00avc1\x00avcC") is None
        assert reader.read(VIDEO, 0, b"\x96\x00hvc1\x01hvcC") is None
        assert reader.read(AUDIO, 0, b"\x95\x00Opus\x01") is None
        body = b"\xa6\x01avc1\x00\x00\x00\x09nal"
        assert reader.read(VIDEO, 40, body) == video(b"\xa1avc1\x00\x00\x09nal", keyframe=False, offset=8, cts=9)
        body = b"\xa7\x02\x00\x00\x01\x06\x03avc1\x00nal"
        assert reader.read(VIDEO, 40, body) == video(b"\xa3avc1nal", keyframe=False, offset=5)
        assert reader.read(VIDEO, 40, b"\xa6\x01hvc1\x01\x00\x00\x00nal") is None
        assert reader.ignored == 0
        assert list(reader.other_tracks) == [(MediaKind.VIDEO, 1), (MediaKind.AUDIO, 1)]
        assert reader.other_tracks[MediaKind.VIDEO, 1] == Track(Codec.HEVC, b"hvcC", track_id=1)
        assert reader.other_tracks[MediaKind.AUDIO, 1].config.startswith(b"OpusHead")

    def test_a_message_of_many_tracks_is_cut_down_to_the_default_one(self):
        reader = TagReader()
        header = b"\x96\x20" + b"vp09\x03\x00\x00\x04vpcC" + b"hvc1\x00\x00\x00\x04hvcC"
        assert reader.read(VIDEO, 0, header) == Track(Codec.HEVC, b"hvcC", b"\x90hvc1hvcC")
        assert reader.other_tracks == {(MediaKind.VIDEO, 3): Track(Codec.VP9, b"vpcC", track_id=3)}
        frames = b"\xa6\x11hvc1" + b"\x01\x00\x00\x02ab" + b"\x00\x00\x00\x06\x00\x00\x07nal"
        packet = reader.read(VIDEO, 40, frames)
        assert packet == video(b"\xa1hvc1\x00\x00\x07nal", keyframe=False, offset=8, cts=7)
        sound = b"\x95\x10mp4a" + b"\x00\x00\x00\x02\x12\x10" + b"\x01\x00\x00\x02\x12\x08"
        assert reader.read(AUDIO, 0, sound) == Track(Codec.AAC, b"\x12\x10", b"\x90mp4a\x12\x10")
        assert reader.read(AUDIO, 40, b"\x95\x11mp4a" + b"\x00\x00\x00\x02ab" + b"\x01\x00\x00\x01c").payload == b"ab"

    def test_a_message_of_many_tracks_without_the_default_one_is_nothing(self, reader):
        assert reader.read(VIDEO, 40, b"\xa6\x11avc1" + b"\x01\x00\x00\x02ab") is None
        assert reader.ignored == 0

    def test_the_memory_of_other_tracks_is_bounded(self):
        reader = TagReader()
        for track_id in range(1, 256):
            reader.read(VIDEO, 0, b"\x96\x00hvc1" + bytes((track_id,)) + b"hvcC")
        assert len(reader.other_tracks) == flv.MAX_OTHER_TRACKS
        reader.read(VIDEO, 0, b"\x96\x00hvc1\x01" + b"c" * flv.MAX_HEADER)
        assert len(reader.other_tracks[MediaKind.VIDEO, 1].config) == flv.MAX_HEADER
        reader.read(VIDEO, 0, b"\x96\x00hvc1\x01" + b"c" * (flv.MAX_HEADER + 1))
        assert len(reader.other_tracks[MediaKind.VIDEO, 1].config) == flv.MAX_HEADER

    @pytest.mark.parametrize("body", [b"\x80", b"\x9favc1", b"\x91vvc1data"], ids=["cut short", "packet type 15", "codec"])
    def test_what_is_malformed_or_unknown_is_counted(self, reader, body):
        assert reader.read(VIDEO, 40, body) is None
        assert reader.ignored == 1

    def test_a_command_frame_is_nothing_and_no_fault(self, reader):
        assert reader.read(VIDEO, 40, b"\xd1\x00") is None
        assert reader.ignored == 0

    def test_colours_are_nothing_to_players_who_read_them_in_the_bitstream(self, reader):
        assert reader.read(VIDEO, 0, b"\x94avc1" + amf0.encode("colorInfo", {"colorConfig": {"bitDepth": 10.0}})) is None
        assert reader.read(VIDEO, 0, b"\xd4avc1") is None
        assert reader.ignored == 0


VALUES = {"width": 1280.0, "encoder": "obs"}


class TestMetadata:
    def test_on_meta_data_with_or_without_set_data_frame(self):
        body = amf0.encode("onMetaData", amf0.EcmaArray(VALUES))
        for message in (body, amf0.encode("@setDataFrame") + body):
            metadata = flv.read_metadata(message)
            assert metadata.body == body
            assert metadata.values == VALUES

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            amf0.encode("@setDataFrame"),
            amf0.encode("onMetaData"),
            amf0.encode("onMetaData", 1),
            amf0.encode("onTextData", {}),
            amf0.encode("onMetaData", {"a": 1})[:-1],
            amf0.encode("onMetaData", {"a": "x" * flv.MAX_HEADER}),
        ],
        ids=["empty", "nothing set", "no values", "a number", "other data", "cut short", "beyond reason"],
    )
    def test_anything_else_is_nothing(self, body):
        assert flv.read_metadata(body) is None


class TestBodies:
    @pytest.mark.parametrize("codec", [Codec.H264, Codec.HEVC, Codec.AV1, Codec.VP9, Codec.VP8])
    @pytest.mark.parametrize("keyframe", [True, False])
    @pytest.mark.parametrize("cts", [0, 40, -40])
    def test_video_bodies_read_back(self, codec, keyframe, cts):
        reader = TagReader()
        body = flv.video_sequence_header(codec, b"config")
        assert reader.read(VIDEO, 0, body) == Track(codec, b"config", body)
        packet = reader.read(VIDEO, 40, flv.video_frame(codec, keyframe, cts, b"data"))
        assert (packet.keyframe, packet.payload) == (keyframe, b"data")
        assert packet.cts == (cts if codec in (Codec.H264, Codec.HEVC) else 0)

    @pytest.mark.parametrize("codec", [Codec.AAC, Codec.OPUS, Codec.FLAC, Codec.AC3, Codec.EAC3])
    def test_audio_bodies_read_back(self, codec):
        reader = TagReader()
        config = b"c" * 34
        body = flv.audio_sequence_header(codec, config)
        assert reader.read(AUDIO, 0, body) == Track(codec, config, body)
        assert reader.read(AUDIO, 40, flv.audio_frame(codec, b"data")).payload == b"data"

    def test_the_bytes_of_the_bodies_that_every_player_knows(self):
        assert flv.video_sequence_header(Codec.H264, b"avcC") == AVC_HEADER
        assert flv.audio_sequence_header(Codec.AAC, b"\x12\x10") == AAC_HEADER
        assert flv.video_frame(Codec.H264, True, 33, b"nal") == b"\x17\x01\x00\x00\x21nal"
        assert flv.video_frame(Codec.H264, False, -1, b"nal") == b"\x27\x01\xff\xff\xffnal"
        assert flv.video_frame(Codec.HEVC, False, 0, b"nal") == b"\xa3hvc1nal"
        assert flv.video_frame(Codec.HEVC, True, 2, b"nal") == b"\x91hvc1\x00\x00\x02nal"
        assert flv.audio_frame(Codec.AAC, b"frame") == b"\xaf\x01frame"
        assert flv.audio_frame(Codec.MP3, b"frame") == b"\x2fframe"
        assert flv.audio_sequence_header(Codec.FLAC, b"s" * 34) == b"\x90fLaCfLaC\x80\x00\x00\x22" + b"s" * 34

    def test_codecs_without_a_form_are_refused(self):
        with pytest.raises(LocalProtocolError):
            flv.video_frame(Codec.VP6, True, 0, b"data")
        with pytest.raises(LocalProtocolError):
            flv.audio_frame(Codec.SPEEX, b"data")


TAGS = [(AUDIO, 0, b"\xaf\x00\x12\x10"), (VIDEO, 0x1234567, b"x" * 300), (DATA, 0xFFFFFFFF, b""), (15, 5, b"amf3")]


class TestFile:
    def file(self) -> bytes:
        return flv.file_header(has_audio=True, has_video=True) + b"".join(flv.write_tag(*tag) for tag in TAGS)

    def test_the_file_header(self):
        assert flv.file_header(has_audio=True, has_video=True) == b"FLV\x01\x05\x00\x00\x00\x09\x00\x00\x00\x00"
        assert flv.file_header(has_audio=True, has_video=False)[4] == 4
        assert flv.file_header(has_audio=False, has_video=True)[4] == 1

    def test_a_tag_has_its_upper_timestamp_byte_last(self):
        assert flv.tag_header(VIDEO, 0x12345678, 0xABCDEF) == bytes.fromhex("09 abcdef 345678 12 000000")
        assert flv.tag_header(VIDEO, (1 << 32) + 1, 0) == bytes.fromhex("09 000000 000001 00 000000")
        assert flv.write_tag(AUDIO, 1, b"ab") == bytes.fromhex("08 000002 000001 00 000000 6162 0000000d")

    @pytest.mark.parametrize("size", [1, 2, 3, 7, 11, 64, 1000])
    def test_what_was_written_reads_back_in_pieces_of_any_size(self, size):
        reader = FlvReader()
        data = self.file()
        tags = [tag for start in range(0, len(data), size) for tag in reader.receive_data(data[start : start + size])]
        assert tags == TAGS

    def test_the_file_header_may_be_longer_of_another_version_or_absent(self):
        tags = self.file()[13:]
        assert FlvReader().receive_data(b"FLV\x02\x00\x00\x00\x00\x0babPREV" + tags) == TAGS
        assert FlvReader().receive_data(tags) == TAGS
        assert FlvReader().receive_data(b"") == []

    def test_previous_tag_sizes_may_be_wrong(self):
        assert FlvReader().receive_data(flv.write_tag(*TAGS[0])[:-4] + b"\xff" * 4) == TAGS[:1]

    @pytest.mark.parametrize(
        "data",
        [
            b"HTTP/1.1 200 OK\r\n",
            b"FLAC\x01\x05\x00\x00\x00\x09\x00\x00\x00",
            b"FLV\x01\x05\x00\x00\x00\x08",
            b"FLV\x01\x05\x00\x01\x00\x01",
            bytes(11),
        ],
        ids=["text", "flac", "short header", "endless header", "zeros"],
    )
    def test_what_is_not_flv_is_refused(self, data):
        with pytest.raises(RemoteProtocolError):
            FlvReader().receive_data(data)

    def test_an_encrypted_tag_is_refused(self):
        data = flv.write_tag(*TAGS[0]) + struct.pack(">B", 0x28) + bytes(10)
        with pytest.raises(RemoteProtocolError, match="type 40"):
            FlvReader().receive_data(data)
