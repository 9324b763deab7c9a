"""A verifying player notices what a counting one cannot."""

import time

from bench.load.clip import AUDIO, STAMP_LENGTH, VIDEO, VIDEO_HEADER, make_clip, stamp_bytes
from bench.load.process import Window
from bench.load.verify import Findings, Verifier

CLIP = make_clip(1_000_000)


def frame(type_id: int, number: int, sent_ns: int = 0) -> bytes:
    body = CLIP.body(type_id, number)
    at = 28 if type_id == VIDEO else 2
    stamp = stamp_bytes(sent_ns, number, len(body))
    return body[:at] + stamp + body[at + STAMP_LENGTH : -8] + b"%08x" % number


def test_a_whole_stream_has_no_findings() -> None:
    verifier = Verifier()
    verifier.message(VIDEO, 0, VIDEO_HEADER)
    for number in range(10):
        verifier.message(VIDEO, number * 33, frame(VIDEO, number))
        verifier.message(AUDIO, number * 23, frame(AUDIO, number))
    assert verifier.findings == Findings(frames=20)


def test_missing_frames_are_counted() -> None:
    verifier = Verifier()
    for number in (5, 6, 9, 10):
        verifier.message(VIDEO, number * 33, frame(VIDEO, number))
    assert verifier.findings.lost == 2
    assert not verifier.findings.faults


def test_a_frame_out_of_order_is_a_fault() -> None:
    verifier = Verifier()
    for number in (5, 7, 6):
        verifier.message(AUDIO, 100, frame(AUDIO, number))
    assert verifier.findings.faults == ["type 8: frame 6 came after frame 7"]


def test_a_timestamp_that_goes_back_is_a_fault() -> None:
    verifier = Verifier()
    verifier.message(VIDEO, 66, frame(VIDEO, 0))
    verifier.message(VIDEO, 33, frame(VIDEO, 1))
    assert verifier.findings.faults == ["type 9: timestamp 33 after 66"]


def test_a_broken_frame_is_a_fault() -> None:
    verifier = Verifier()
    verifier.message(VIDEO, 0, frame(VIDEO, 0)[:-1])
    verifier.message(AUDIO, 0, b"\xaf\x01" + b"?" * 64)
    assert len(verifier.findings.faults) == 2


def test_latency_is_taken_within_the_window_only() -> None:
    now = time.monotonic_ns()
    verifier = Verifier()
    verifier.window = Window(now, now + 60_000_000_000)
    verifier.message(VIDEO, 0, frame(VIDEO, 0, now - 1))
    sent = frame(VIDEO, 1, now)
    before = time.monotonic_ns()
    verifier.message(VIDEO, 33, sent)
    (latency,) = verifier.findings.latencies
    assert (before - now) / 1e6 <= latency <= (time.monotonic_ns() - now) / 1e6
