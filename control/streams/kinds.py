"""The words of a stream's row, as the Panel document has them."""

import enum


class LatencyMode(enum.Enum):
    """How far behind live players of HLS and DASH are: ``low`` makes parts of 0.1 s and segments of 1 s, ``high`` of 1 s and 6 s,
    ``normal`` what the server is set to; ``tutorial`` is ``normal``."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    TUTORIAL = "tutorial"


class StreamInput(enum.Enum):
    """Where a stream comes from: RTMP on this server's own address is pushed to, all else is fetched. An address is the server's
    own by any name and any address under which its RTMP port is reached."""

    RTMP = "rtmp"
    RTSP = "rtsp"
    HTTP = "http"
    HLS = "hls"
    FILE = "file"
    SRT = "srt"


class VideoCodec(enum.Enum):
    """What qualities are encoded to."""

    H264 = "h264"
    HEVC = "hevc"
    AV1 = "av1"


class AudioCodec(enum.Enum):
    """What sound of another codec is made."""

    AAC = "aac"


class BitrateMode(enum.Enum):
    """Constant or variable bit rate."""

    CBR = "cbr"
    VBR = "vbr"


class Quality(enum.Enum):
    """A quality by its usual name, which is its height; ``audio`` is sound alone."""

    UHD = "2160p"
    QHD = "1440p"
    FHD = "1080p"
    HD = "720p"
    SD = "480p"
    LOW = "360p"
    LOWEST = "240p"
    SOUND = "audio"


class StreamStatus(enum.Enum):
    """``running``: on air. ``starting``: wanted, and nothing comes yet, or no more for a moment. ``stopped``: neither."""

    RUNNING = "running"
    STARTING = "starting"
    STOPPED = "stopped"
