"""Pulling RTSP, as cameras speak it: FFmpeg's demuxer, media interleaved on the one TCP connection, behind a tunnel that
leads nowhere but to where the server may go. Runs in a worker process.
"""

from collections.abc import Iterator
from urllib.parse import urlsplit

import av

from mediaserver.ingest.pull_allowance import Allowance, of_bytes
from mediaserver.ingest.pull_container import LIMITS, demux, unreadable
from mediaserver.ingest.pull_rtmp import secure, socket_to
from mediaserver.ingest.pull_terms import SourceLost, Terms
from mediaserver.transport.tunnel import RtspInspector, Tunnel
from protocols.errors import RemoteProtocolError
from protocols.media import Packet, Track

_PORTS = {"rtsp": 554, "rtsps": 322}


def read(terms: Terms) -> Iterator[Track | Packet]:
    """What the camera at ``terms.url`` sends."""
    parts = urlsplit(terms.url)
    far = socket_to(parts, _PORTS[parts.scheme], terms)
    if parts.scheme == "rtsps":
        far = secure(far, parts, terms)
    with Tunnel(far, _Gate(of_bytes(terms)), terms.timeout) as tunnel:
        secret, at, _ = parts.netloc.rpartition("@")
        url = parts._replace(scheme="rtsp", netloc=f"{secret}{at}127.0.0.1:{tunnel.port}").geturl()
        options = {
            **LIMITS,
            "rtsp_transport": "tcp",
            "format_whitelist": "rtsp",
            "protocol_whitelist": "rtsp,tcp",
            "timeout": str(round(terms.timeout * 1_000_000)),
        }
        try:
            with av.open(
                url, mode="r", format="rtsp", options=options, timeout=terms.timeout, metadata_errors="replace"
            ) as container:
                yield from demux(container)
        except av.FFmpegError as error:
            raise (SourceLost(tunnel.refusal) if tunnel.refusal else unreadable(error)) from None
        raise SourceLost(tunnel.refusal or "the source has ended")


class _Gate(RtspInspector):
    """Lets pass what is RTSP, and no more of it than is allowed."""

    def __init__(self, allowance: Allowance) -> None:
        super().__init__()
        self._allowance = allowance

    def look(self, data: bytes) -> bytes:
        try:
            self._allowance.spend(len(data))
        except SourceLost as loss:
            raise RemoteProtocolError(str(loss)) from None
        return super().look(data)
