"""Pushes a clip to an RTMP address in real time with PyAV: ``python -m tests.push FILE URL [TIMES]``.

FFmpeg 8.1 inside PyAV speaks Enhanced RTMP (HEVC, AV1, VP9, Opus, FLAC), which Debian's ffmpeg does not. A program of
its own, because PyAV's network output holds the interpreter's lock.
"""

import sys
import time

import av


def push(file: str, url: str, times: int) -> None:
    """Send ``file`` ``times`` times in a row, with timestamps that go on."""
    with av.open(url, "w", format="flv") as output, av.open(file) as template:
        streams = {stream.index: output.add_stream_from_template(stream, opaque=True) for stream in template.streams}
        begin, shift = time.monotonic(), 0.0
        for _ in range(times):
            shift = _once(output, file, streams, begin, shift)


def _once(
    output: av.container.OutputContainer, file: str, streams: dict[int, av.stream.Stream], begin: float, shift: float
) -> float:
    end = shift
    with av.open(file) as clip:
        for packet in clip.demux():
            if packet.dts is None or packet.pts is None:
                continue
            base = packet.time_base
            now = shift + float(packet.dts * base)
            end = max(end, now + float((packet.duration or 0) * base))
            packet.stream = streams[packet.stream_index]
            packet.dts += round(shift / base)
            packet.pts += round(shift / base)
            time.sleep(max(0.0, begin + now - time.monotonic()))
            output.mux(packet)
    return end


if __name__ == "__main__":
    push(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 1_000_000)
