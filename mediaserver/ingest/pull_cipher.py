"""Segments of HLS that are encrypted as a whole (RFC 8216bis, 4.4.4.4: AES-128). Runs in a worker process."""

import contextlib
import os
import threading

import av

from mediaserver.ingest.pull_terms import SourceLost

#: Bytes of a key, and of an initialization vector.
KEY_SIZE = 16
_BLOCK = 16
_READ_SIZE = "65536"


def decrypt(data: bytes, key: bytes, vector: bytes) -> bytes:
    """``data`` in clear: AES with 128 bits in CBC mode, padded as PKCS #7 says. FFmpeg does it. Raises SourceLost."""
    if not data or len(data) % _BLOCK:
        raise SourceLost("an encrypted segment that is cut off")
    reader, writer = os.pipe()
    thread = threading.Thread(target=_feed, args=(writer, data), daemon=True)
    thread.start()
    options = {"key": key.hex(), "iv": vector.hex(), "protocol_whitelist": "crypto,pipe", "raw_packet_size": _READ_SIZE}
    try:
        with av.open(f"crypto:pipe:{reader}", mode="r", format="data", options=options) as container:
            return b"".join(bytes(packet) for packet in container.demux())
    except av.FFmpegError as error:
        raise SourceLost(f"an encrypted segment cannot be read: {error.strerror or type(error).__name__}") from None
    finally:
        os.close(reader)
        thread.join()


def _feed(writer: int, data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError), os.fdopen(writer, "wb") as pipe:
        pipe.write(data)
