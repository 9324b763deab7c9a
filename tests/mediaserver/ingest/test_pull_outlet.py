import pytest

from mediaserver.ingest import pull_outlet
from mediaserver.ingest.pull_allowance import Allowance
from mediaserver.ingest.pull_outlet import PATIENCE, Outlet
from mediaserver.ingest.pull_remux import track
from mediaserver.ingest.pull_terms import SourceLost
from mediaserver.worker.frames import Frame, PacketFrame, TrackFrame
from protocols.media import Codec, MediaKind, Packet


def plenty() -> Allowance:
    return Allowance(1e12, 1.0, "too much")


class Sent:
    """A pipe that keeps what it is given, with the time by a clock that stands still unless somebody sleeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.frames: list[Frame] = []
        self.times: list[float] = []
        self.now = 100.0
        monkeypatch.setattr(pull_outlet.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(pull_outlet.time, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def send(self, frame: Frame) -> None:
        self.frames.append(frame)
        self.times.append(round(self.now - 100, 3))

    @property
    def stamps(self) -> list[int]:
        return [frame.packet.dts for frame in self.frames if isinstance(frame, PacketFrame)]


def picture(dts: int, size: int = 1) -> Packet:
    return Packet(MediaKind.VIDEO, dts, True, bytes(size), 0)


def sound(dts: int) -> Packet:
    return Packet(MediaKind.AUDIO, dts, True, b"a", 0)


def test_the_earliest_timestamp_becomes_zero_whichever_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = Sent(monkeypatch)
    outlet = Outlet(sent, None, 100, plenty())
    outlet.take([track(Codec.H264, b"v"), track(Codec.AAC, b"a"), picture(10), picture(50), sound(-80), sound(-60), picture(90)])
    assert sent.stamps == [90, 130, 0, 20, 170]
    assert [type(frame) for frame in sent.frames[:2]] == [TrackFrame, TrackFrame]


def test_what_was_looked_at_goes_at_the_end_too(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = Sent(monkeypatch)
    outlet = Outlet(sent, 0.0, 100, plenty())
    outlet.take([picture(5)])
    assert sent.frames == []
    outlet.settle()
    outlet.settle()
    assert sent.stamps == [0]


def test_packets_leave_in_time_and_at_most_their_lead_before(monkeypatch: pytest.MonkeyPatch) -> None:
    for lead, expected in ((0.0, [0.0, 1.1, 1.6, 2.1]), (1.0, [0.0, 0.1, 0.6, 1.1]), (None, [0.0, 0.0, 0.0, 0.0])):
        sent = Sent(monkeypatch)
        Outlet(sent, lead, 100, plenty()).take(map(picture, (7000, 8100, 8600, 9100)))
        assert sent.times == expected


def test_a_jump_of_the_source_s_clock_is_no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = Sent(monkeypatch)
    Outlet(sent, 0.0, 100, plenty()).take(map(picture, (0, 1100, 90_000_000, 90_000_500, 3, 503)))
    assert sent.times == [0.0, 1.1, 1.1, 1.6, 1.6, 2.1]
    assert sent.stamps == [0, 1100, 90_000_000, 90_000_500, 3, 503]


def test_a_short_delay_is_made_up_for_and_a_long_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = Sent(monkeypatch)
    outlet = Outlet(sent, 0.0, 100, plenty())
    outlet.take(map(picture, (0, 1100)))
    sent.now += 2
    outlet.take(map(picture, (2000, 3000, 4000)))
    assert sent.times[2:] == [3.1, 3.1, 4.0]
    sent.now += 60
    outlet.take(map(picture, (5000, 6000)))
    assert sent.times[5:] == [64.0, 65.0]


def test_a_packet_beyond_the_limit_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = Sent(monkeypatch)
    outlet = Outlet(sent, None, 10, plenty())
    outlet.take([picture(0), picture(1100, size=11), picture(2000)])
    outlet.settle()
    assert sent.stamps == [0, 2000]
    assert outlet.dropped == 1


def test_the_clock_has_32_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = Sent(monkeypatch)
    Outlet(sent, None, 10, plenty()).take(map(picture, (0, 1100, (1 << 32) + 5)))
    assert sent.stamps == [0, 1100, 5]


def test_a_flood_whose_clock_stands_still_is_held_back_and_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a source that is paced by its timestamps."""
    sent = Sent(monkeypatch)
    outlet = Outlet(sent, 0.0, 1 << 20, Allowance(1000, 5.0, "too much"))
    with pytest.raises(SourceLost, match="too much"):
        outlet.take(picture(0, size=100) for _ in iter(int, 1))
    assert len(sent.frames) < 100
    sent = Sent(monkeypatch)
    monkeypatch.setattr(pull_outlet, "MOST_PACKETS", 400)
    outlet = Outlet(sent, None, 1 << 20, plenty())
    with pytest.raises(SourceLost, match="more than 400 packets a second"):
        outlet.take(picture(0) for _ in iter(int, 1))
    assert len(sent.frames) < 400 * (PATIENCE + 6)


def test_one_kind_may_be_well_behind_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a source stores them apart: what is late leaves at once, and the other goes on in its time."""
    sent = Sent(monkeypatch)
    items = [picture(0), picture(1500), picture(3000), sound(0), sound(1500), sound(3000), picture(4500), sound(4500)]
    Outlet(sent, 0.0, 100, plenty()).take(items)
    assert sent.times == [0.0, 1.5, 3.0, 3.0, 3.0, 3.0, 4.5, 4.5]


def test_neither_kind_waits_for_a_clock_that_the_other_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    for back in (5000, 90_000):
        sent = Sent(monkeypatch)
        before = [picture(100_000), sound(100_010), picture(101_100), sound(101_110)]
        items = [*before, picture(101_100 - back), sound(101_131), picture(101_140 - back), sound(101_152), sound(101_173 - back)]
        Outlet(sent, 0.0, 100, plenty()).take([*items, picture(102_180 - back), sound(102_190 - back)])
        assert sent.times[:4] == [0.0, 0.01, 1.1, 1.11]
        assert sent.times[4:9] == pytest.approx([1.11] * 5, abs=0.1)
        assert sent.times[9:] == pytest.approx([2.15, 2.16], abs=0.1)
