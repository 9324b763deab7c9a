"""The words of a stream's row, as the Panel document has them."""

import enum


class LatencyMode(enum.Enum):
    """How far behind live players are: see ``service.PACING``. TUTORIAL is the document's word for NORMAL."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    TUTORIAL = "tutorial"


class StreamInput(enum.Enum):
    """Where a stream comes from: RTMP on this server's own address is pushed to, all else is fetched. An address is the server's
    own by any name of it, and where ``rtmp.host`` stands for all of the machine's addresses, by each of them."""

    RTMP = "rtmp"
    RTSP = "rtsp"
    HTTP = "http"
    HLS = "hls"
    FILE = "file"
    SRT = "srt"


class VideoCodec(enum.Enum):
    """What renditions are encoded to."""

    H264 = "h264"
    HEVC = "hevc"
    AV1 = "av1"


class AudioCodec(enum.Enum):
    """What sound is made, where it is not that already."""

    AAC = "aac"


class BitrateMode(enum.Enum):
    """Constant or variable bit rate."""

    CBR = "cbr"
    VBR = "vbr"


class Quality(enum.Enum):
    """A rung of the ladder by its usual name."""

    UHD = "2160p"
    QHD = "1440p"
    FHD = "1080p"
    HD = "720p"
    SD = "480p"
    LOW = "360p"
    LOWEST = "240p"
    SOUND = "audio"


class StreamStatus(enum.Enum):
    """RUNNING: on air. STARTING: wanted, and nothing comes yet. STOPPED."""

    RUNNING = "running"
    STARTING = "starting"
    STOPPED = "stopped"
