"""Sound inputs to start from: a configuration and the beginning of a packet of each codec, and what is made of them."""

from protocols import flv
from protocols.media import Codec, MediaKind
from protocols.rtmp import amf0, enhanced
from protocols.rtmp.client import ClientSession
from protocols.rtmp.enhanced import PacketType
from protocols.rtmp.events import ConnectRequested, PlayRequested, PublishRequested
from protocols.rtmp.session import ServerSession

_HEX: dict[Codec, tuple[str, str]] = {
    Codec.H264: (
        "0164000affe100196764000aacd9472f888884000003000400000300c83c48965801000468ef8fcbfdf8f800",
        "0000003c658884002bffc8e0527e95804f7c0b4cf3c9ba409f050115c0087c4a843be08b389260114dee66b8a74338ea1e9e"
        "1de7fffff7b6ffa97c7e05ed323d",
    ),
    Codec.HEVC: (
        "0101600000009000000000001ef000fcfdf8f800000f03200001001840010c01ffff01600000030090000003000003001e95"
        "9009210001002a42010101600000030090000003000003001ea034812724996564924cae6808000003000800000300c84022"
        "000100074401c172b42240",
        "000000342801af1d809c7ffa3dee2dc8fe3cc24d351ebf6ff368d6ee8aef334be11683f75c6f57a80673284ff6bba359550201e1480809fb",
    ),
    Codec.AV1: (
        "81000c000a0a0000000336182257c802",
        "0a0a0000000336182257c802324410008ac0814508204f8000db2a4e8db1914c5ea110ffe60db1eb12743c6b5ff540e70637"
        "3b2b94c7dbf9b3bf02b6a90c60be5e045ac66b6cc83b6da4eef209cd1d3a4919",
    ),
    Codec.VP9: (
        "01000000000a82020202000000620042",
        "8249834200061004160638241c184a0001c0505cca66beebaed77d7dd7e7b81e5dc9fec7fb3a7f7192557fe000007a377fff"
        "cee91e5758a6d0545bba",
    ),
    Codec.AAC: (
        "119056e500",
        "de02004c61766336322e32382e313032004254912000000004edba15b14acf7f39d4bbb2556a9251f092492448032b0eed19"
        "201889c4482522637f9b3a9aee0908d2681a33f1df82f083efaf1dd5dd6bb1bb",
    ),
    Codec.OPUS: (
        "4f707573486561640102380180bb0000000000",
        "fc7f5263a55d553ba396ec4af4f0a3113324447e6ba5e3700b127f52070b441c70a091ef2af485b7b97c7c4d87c01a61e3cd"
        "e960ae77bb28a0f3d57031acba0843787f70be0746c9107e7e7f5c4f5d2cdc0a",
    ),
    Codec.FLAC: (
        "120012000004100011dd0bb802f000005dc0955c6bf1b43e180e764d9ecd5a07c24e",
        "fff85a1800d64e0000075e0eb616021d3b245b2b5c3238e62618d06bfb6c1b4fc490ba9ee280e390",
    ),
    Codec.AC3: (
        "101140",
        "0b774d69144043e106f463711515161a9a9ac3f5aefabbe7cf9f20ef55ebc37cfdf3e7d5c507ee1d786f9fbe7cfab997f6c2"
        "04090069679deb7b00ab29f9a9f774d873f0cbe1a20f4696edcfbaa316320dc4",
    ),
    Codec.EAC3: (
        "0600200400",
        "0b77017f3487c0002084210833a08c08a8a8a1a9a9a82d77d5df3e7cf9077aaf5e1be7ef9f3eae283f70ebc37cfdf3e7d5c0"
        "0d2cf3bdbd81566fcdbeee6c3fe19f0d107a34b76e7dd518b1903b886cfad8de",
    ),
    Codec.MP3: (
        "fffb9444",
        "fffb9444000002000856bd3c60084a41aa93ac24000be8a16fb99680117c8fab2b36d0000025dfac97048c43cb9b10dc02e0"
        "0b00601f8ab86c6af677efc1f0401004010c1f0fe08021ac1f3f940c4a7407fa",
    ),
}
#: Configuration and packet of each codec.
CLIPS = {codec: (bytes.fromhex(config), bytes.fromhex(packet)) for codec, (config, packet) in _HEX.items()}

Tag = tuple[int, int, bytes]

METADATA = amf0.encode(
    "@setDataFrame", "onMetaData", amf0.EcmaArray(width=1280, height=720, framerate=30.0, encoder="obs", stereo=True)
)
AMF3 = [
    # {"a": [1, -1, 1.5, "text", null, true, bytes], "b": {"c": date}, "d": ECMA array}, "text"
    bytes.fromhex(
        "0a0b01 0361 090f01 0401 04ffffffff 053ff8000000000000 060974657874 01 03 0c0b6279746573"
        "0362 0a0b01 0363 0801426d1a94a2000000 01 0364 0901 0365 060974657874 01 01 060974657874"
    ),
    bytes.fromhex("09 07 01 06 03 61 06 01 06 00"),
    bytes.fromhex("09 05 01 0a 13 03 43 03 61 04 01 0a 01 04 02"),
    bytes.fromhex("0d 05 00 00000001 ffffffff 0f 03 00 3ff0000000000000 10 05 00 01 03 04 05 11 03 00 06 03 61 04 05"),
]
AMF0 = [
    METADATA,
    amf0.encode("connect", 1, {"app": "live", "tcUrl": "rtmp://host/live", "flashVer": "x", **enhanced.server_capabilities()}),
    amf0.encode([[[{"a": [1, 2, amf0.UNDEFINED]}]], amf0.Date(0.0), amf0.XmlDocument("<a/>"), None, False]),
    amf0.encode({"a": None}) + amf0.encode([]) + bytes.fromhex("07 0000 07 0001"),
    bytes.fromhex("11") + AMF3[0],
    bytes.fromhex("10 0001 43 0001 61 05 000009"),
]


def tags(*codecs: Codec, count: int = 12) -> list[Tag]:
    """What a publisher of these codecs sends: a header each, then packets by turns, a keyframe every fourth."""
    found: list[Tag] = [(flv.DATA, 0, METADATA)]
    found += [(_type_id(codec), 0, header(codec)) for codec in codecs if codec is not Codec.MP3]
    found += [(_type_id(codec), number * 40, frame(codec, number % 4 == 0)) for number in range(count) for codec in codecs]
    return found


def _type_id(codec: Codec) -> int:
    return flv.VIDEO if codec.kind is MediaKind.VIDEO else flv.AUDIO


def header(codec: Codec) -> bytes:
    """A sequence header's tag body."""
    config = CLIPS[codec][0]
    video = codec.kind is MediaKind.VIDEO
    return flv.video_sequence_header(codec, config) if video else flv.audio_sequence_header(codec, config)


def frame(codec: Codec, keyframe: bool) -> bytes:
    """A packet's tag body."""
    packet = CLIPS[codec][1]
    return flv.video_frame(codec, keyframe, 40, packet) if codec.kind is MediaKind.VIDEO else flv.audio_frame(codec, packet)


def multitrack() -> list[Tag]:
    """Bodies with ModEx, several tracks and colours."""
    avc, hevc = CLIPS[Codec.H264], CLIPS[Codec.HEVC]
    sizes = len(avc[0]).to_bytes(3), len(hevc[0]).to_bytes(3)
    return [
        (flv.VIDEO, 0, b"\x96\x20avc1\x00" + sizes[0] + avc[0] + b"hvc1\x01" + sizes[1] + hevc[0]),
        (flv.VIDEO, 0, b"\x96\x01avc1\x00\x00\x00\x00" + avc[1]),
        (flv.VIDEO, 9, b"\xa7\x02\x00\x00\x01\x06\x01avc1\x00\x00\x00\x00" + avc[1]),
        (flv.VIDEO, 40, b"\x96\x11avc1\x00\x00\x00\x05abcde\x01\x00\x00\x02fg"),
        (
            flv.VIDEO,
            40,
            enhanced.header(PacketType.METADATA, Codec.HEVC) + amf0.encode("colorInfo", {"colorConfig": {"bitDepth": 10}}),
        ),
        (flv.AUDIO, 40, b"\x95\x10Opus\x00\x00\x00\x13" + CLIPS[Codec.OPUS][0] + b"\x01\x00\x00\x00"),
        (flv.AUDIO, 40, b"\x94Opus\x01\x02\x00\x00\x00\x03"),
    ]


PUBLICATIONS = [
    tags(Codec.H264, Codec.AAC),
    tags(Codec.HEVC, Codec.OPUS),
    tags(Codec.AV1, Codec.FLAC),
    tags(Codec.VP9, Codec.EAC3),
    tags(Codec.H264, Codec.MP3),
    tags(Codec.AC3),
    multitrack(),
]
FILES = [flv.file_header(True, True) + b"".join(flv.write_tag(*tag) for tag in publication) for publication in PUBLICATIONS]


def conversation(goal: str) -> tuple[bytes, bytes]:
    """What client and server say to each other up to the first media, handshakes included: (client's bytes, server's)."""
    client, server = ClientSession("live", "rtmp://host/live", entropy=b"c"), ServerSession(entropy=b"s")
    client.start()
    if goal == "publish":
        client.publish("name?token=1")
    else:
        client.play("name")
    said = [b"", b""]
    while True:
        words = client.data_to_send()
        for event in server.receive_data(words):
            match event:
                case ConnectRequested():
                    server.accept_connect()
                case PublishRequested() as request:
                    server.accept_publish(request)
                case PlayRequested() as request:
                    server.accept_play(request)
        answer = server.data_to_send()
        client.receive_data(answer)
        said = [said[0] + words, said[1] + answer]
        if not words and not answer:
            return said[0], said[1]
