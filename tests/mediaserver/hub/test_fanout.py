import asyncio
import errno
import os
import socket
import sys
from collections.abc import AsyncIterator, Iterable
from typing import cast

import pytest

from mediaserver.hub import fanout
from mediaserver.hub.beat import Beat, Pace
from mediaserver.hub.fanout import Fanout, Word
from mediaserver.hub.gop import GopCache
from mediaserver.hub.player import HIGH_WATER, FanoutPlayer, PlayerState, reason_of
from mediaserver.hub.session import Session
from mediaserver.hub.stream import LiveStream, StreamState
from mediaserver.ports import Wire
from protocols.media import Codec, MediaKind, Metadata, Packet, Track

#: Seconds to wait for what is sure to come.
PATIENCE = 30.0
VIDEO_TRACK = Track(Codec.H264, b"avcC", b"V0")


class LineWire:
    """A wire format to read with the eye: one line a thing; counts what it is asked."""

    def __init__(self) -> None:
        self.packets = 0

    def pieces(self, words: Iterable[Word], timestamp: int) -> list[bytes]:
        pieces: list[bytes] = []
        for word in words:
            if isinstance(word, Packet):
                self.packets += 1
                timestamp = word.dts
                pieces += (b"%s%d " % (b"K" if word.keyframe else b"P", timestamp), word.body, b"\n")
            else:
                pieces.append(b"metadata\n" if isinstance(word, Metadata) else b"track %d\n" % timestamp)
        return pieces

    def frame(self, length: int) -> tuple[bytes, bytes]:
        return b"", b""


class PlayerProtocol(asyncio.Protocol):
    """The server's end of a player's connection."""

    player: FanoutPlayer

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.lost = asyncio.Event()
        self.resumed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses.
        self.player = FanoutPlayer(cast(asyncio.Transport, transport), Session(Wire.RTMP, "127.0.0.1"), self.ended.set)

    def pause_writing(self) -> None:
        self.player.pause_writing()

    def resume_writing(self) -> None:
        self.player.resume_writing()
        self.resumed.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()


class Stage:
    """A stream, its fan-out, and players over real sockets."""

    def __init__(self) -> None:
        self.beat = Beat(asyncio.get_running_loop(), 0.1)
        self.fanout = Fanout(self.beat, patience=10)
        self.wire = LineWire()
        self.stream = LiveStream("cam", GopCache(1 << 24, 60_000), 0)
        self.stream.write_track(VIDEO_TRACK)
        self.sockets: list[asyncio.StreamWriter] = []
        self.transports: list[asyncio.Transport] = []

    async def player(self) -> tuple[PlayerProtocol, asyncio.StreamReader]:
        near, far = socket.socketpair()
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_connection(PlayerProtocol, sock=near)
        reader, writer = await asyncio.open_connection(sock=far, limit=1 << 26)
        self.sockets.append(writer)
        self.transports.append(transport)
        return protocol, reader

    def join(self, protocol: PlayerProtocol) -> None:
        self.fanout.join(self.stream, self.wire, protocol.player)

    def write(self, dts: int, keyframe: bool = False, body: bytes = b"x") -> None:
        self.stream.write(Packet(MediaKind.VIDEO, dts, keyframe, body, 0))

    async def rest(self) -> None:
        """Let the loop turn until all that was written is on its way, however many slices that takes."""
        await asyncio.sleep(0)
        while self.beat._handle is not None:  # noqa: ASYNC110 - the beat announces nothing
            await asyncio.sleep(0)

    async def close(self) -> None:
        self.beat.close()
        for writer in self.sockets:
            writer.close()
        for transport in self.transports:
            transport.abort()
        await asyncio.sleep(0)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    built = Stage()
    yield built
    await built.close()


async def lines(reader: asyncio.StreamReader, count: int) -> list[bytes]:
    async with asyncio.timeout(PATIENCE):
        return [(await reader.readline()).rstrip() for _ in range(count)]


async def test_a_player_gets_headers_and_the_gop_at_once_and_then_everything(stage: Stage) -> None:
    stage.write(1000, keyframe=True)
    stage.write(1033)
    protocol, reader = await stage.player()
    stage.join(protocol)
    stage.write(1066)
    first = stage.stream.gop._packets[0].dts
    assert await lines(reader, 4) == [
        b"track %d" % first,
        b"K%d x" % first,
        b"P%d x" % (first + 33),
        b"P%d x" % (first + 66),
    ]


async def test_a_packet_is_serialized_once_for_all_players(stage: Stage) -> None:
    players = [await stage.player() for _ in range(5)]
    stage.write(0, keyframe=True)
    for protocol, _ in players:
        stage.join(protocol)
    before = stage.wire.packets
    stage.write(33)
    for _, reader in players:
        assert (await lines(reader, 3))[2].startswith(b"P")
    assert stage.wire.packets == before + 1


async def test_a_stream_without_players_builds_no_wire_form(stage: Stage) -> None:
    stage.write(0, keyframe=True)
    stage.write(33)
    assert stage.wire.packets == 0
    protocol, reader = await stage.player()
    stage.join(protocol)
    await lines(reader, 3)
    stage.fanout.leave(protocol.player)
    stage.fanout.leave(protocol.player)
    stage.write(66)
    assert stage.wire.packets == 2
    assert stage.stream.subscribers == ()


async def test_a_player_before_the_first_keyframe_starts_with_it(stage: Stage) -> None:
    protocol, reader = await stage.player()
    stage.join(protocol)
    assert protocol.player.state is PlayerState.JOINING
    stage.write(0, keyframe=False)
    stage.write(33, keyframe=True)
    stage.write(66)
    got = await lines(reader, 4)
    assert [line[:5] for line in got[:2]] == [b"track", b"track"]
    assert [line[:1] for line in got[2:]] == [b"K", b"P"]


async def test_who_joins_between_two_flushes_gets_no_packet_twice(stage: Stage) -> None:
    early, early_reader = await stage.player()
    late, late_reader = await stage.player()
    stage.write(0, keyframe=True)
    stage.join(early)
    stage.write(33)
    stage.join(late)
    stage.write(66)
    for reader in (early_reader, late_reader):
        got = await lines(reader, 4)
        assert [line[:1] for line in got] == [b"t", b"K", b"P", b"P"]
        assert len(set(got)) == 4


async def test_who_joins_when_sound_has_changed_between_two_flushes_misses_no_picture(stage: Stage) -> None:
    """Sound in the old form is forgotten, in the GOP cache too, while it is still pending."""
    stage.stream.write_track(Track(Codec.AAC, b"ASC", b"A0"))
    early, early_reader = await stage.player()
    late, reader = await stage.player()
    stage.join(early)
    stage.write(0, keyframe=True)
    for dts in (40, 80, 120):
        stage.write(dts)
    await read_until(early_reader, b"P120 x")
    for dts in (130, 140):
        stage.stream.write(Packet(MediaKind.AUDIO, dts, True, b"s", 0))
    stage.stream.write_track(Track(Codec.AAC, b"ASC2", b"A1"))
    stage.join(late)
    assert (await lines(reader, 6))[2:] == [b"K0 x", b"P40 x", b"P80 x", b"P120 x"]


async def test_a_player_that_does_not_read_is_set_aside_counted_and_comes_back_at_a_keyframe(stage: Stage) -> None:
    slow, slow_reader = await stage.player()
    good, good_reader = await stage.player()
    slow_socket = stage.sockets[0]
    slow_socket.transport.pause_reading()
    stage.write(0, keyframe=True)
    stage.join(slow)
    stage.join(good)
    body = bytes(256 * 1024)
    dts = 33
    await lines(good_reader, 2)
    while slow.player.state is PlayerState.LIVE:
        stage.write(dts, body=body)
        dts += 33
        await lines(good_reader, 1)
        assert dts < 33 * 200
    assert slow.player.state is PlayerState.LAGGING
    assert slow.player.transport.get_write_buffer_size() < HIGH_WATER + 2 * len(body)
    held = slow.player.transport.get_write_buffer_size()
    for _ in range(20):
        stage.write(dts, body=body)
        dts += 33
        await lines(good_reader, 1)
    assert slow.player.transport.get_write_buffer_size() == held
    slow_socket.transport.resume_reading()
    drained = asyncio.create_task(read_until(slow_reader, b"K%d z" % dts))
    async with asyncio.timeout(PATIENCE):
        await slow.resumed.wait()
    assert slow.player.state is PlayerState.SKIPPING
    stage.write(dts, keyframe=True, body=b"z")
    async with asyncio.timeout(PATIENCE):
        before = await drained
    assert before.startswith(b"track")
    assert slow.player.state is PlayerState.LIVE
    assert slow.player.session.dropped_packets >= 20
    assert good.player.session.dropped_packets == 0
    assert await lines(good_reader, 1) == [b"K%d z" % dts]


async def test_a_player_that_stays_full_is_cut_off(stage: Stage) -> None:
    slow, _ = await stage.player()
    stage.sockets[0].transport.pause_reading()
    stage.write(0, keyframe=True)
    stage.join(slow)
    await fill(stage, slow)
    assert slow.player.state is PlayerState.LAGGING
    stage.fanout.sweep(slow.player.full_since + 9)
    assert not slow.player.transport.is_closing()
    stage.fanout.sweep(slow.player.full_since + 11)
    async with asyncio.timeout(PATIENCE):
        await slow.lost.wait()


async def test_a_full_player_that_reads_slowly_is_cut_off_only_when_it_reads_no_more(stage: Stage) -> None:
    slow, _ = await stage.player()
    stage.sockets[0].transport.pause_reading()
    stage.write(0, keyframe=True)
    stage.join(slow)
    await fill(stage, slow)
    descriptor: int = stage.sockets[0].transport.get_extra_info("socket").fileno()
    read_at = slow.player.full_since
    for _ in range(2):
        assert len(os.read(descriptor, 64 * 1024)) == 64 * 1024
        read_at += 9
        stage.fanout.sweep(read_at)
    assert slow.player.state is PlayerState.LAGGING
    stage.fanout.sweep(read_at + 9)
    assert not slow.player.transport.is_closing()
    stage.fanout.sweep(read_at + 11)
    async with asyncio.timeout(PATIENCE):
        await slow.lost.wait()


async def test_a_player_that_vanished_costs_the_others_nothing(stage: Stage) -> None:
    gone, _ = await stage.player()
    stays, reader = await stage.player()
    stage.write(0, keyframe=True)
    stage.join(gone)
    stage.join(stays)
    stage.sockets[0].transport.abort()
    for number in range(5):
        stage.write(33 * (number + 1))
        await stage.rest()
    assert len(await lines(reader, 7)) == 7
    async with asyncio.timeout(PATIENCE):
        await gone.lost.wait()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)), "took nothing for too long"),
        (OSError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)), "reset by the peer"),
        (OSError(errno.EPIPE, os.strerror(errno.EPIPE)), "reset by the peer"),
        (OSError(errno.EHOSTUNREACH, "No route to host"), f"[Errno {errno.EHOSTUNREACH}] No route to host"),
        (ValueError(), "ValueError"),
    ],
)
def test_the_reason_of_a_loss_is_told_in_words(error: Exception, words: str) -> None:
    assert reason_of(error) == words


async def test_pause_holds_packets_and_going_on_starts_with_the_gop(stage: Stage) -> None:
    protocol, reader = await stage.player()
    stage.write(0, keyframe=True)
    stage.join(protocol)
    await lines(reader, 2)
    stage.fanout.pause(protocol.player, True)
    stage.write(33)
    await stage.rest()
    protocol.player.burst_at = -1.0
    stage.fanout.pause(protocol.player, False)
    assert [line[:1] for line in await lines(reader, 3)] == [b"t", b"K", b"P"]


async def test_who_pauses_again_and_again_is_given_the_gop_once_and_then_waits_for_a_keyframe(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    protocol, reader = await stage.player()
    monkeypatch.setattr(fanout, "monotonic", lambda: protocol.player.burst_at)  # all within one moment
    stage.write(0, keyframe=True)
    stage.join(protocol)
    for _ in range(100):
        stage.fanout.pause(protocol.player, True)
        stage.fanout.pause(protocol.player, False)
    assert protocol.player.state is PlayerState.SKIPPING
    stage.write(33, keyframe=True)
    assert [line[:1] for line in await lines(reader, 4)] == [b"t", b"K", b"t", b"K"]


async def test_a_full_player_stays_full_through_a_pause_and_is_cut_off(stage: Stage) -> None:
    slow, _ = await stage.player()
    stage.sockets[0].transport.pause_reading()
    stage.write(0, keyframe=True)
    stage.join(slow)
    await fill(stage, slow)
    held = slow.player.transport.get_write_buffer_size()
    stage.fanout.pause(slow.player, True)
    stage.fanout.pause(slow.player, False)
    stage.write(100_000, keyframe=True, body=bytes(256 * 1024))
    await stage.rest()
    assert slow.player.transport.get_write_buffer_size() == held
    stage.fanout.pause(slow.player, True)
    stage.fanout.sweep(slow.player.full_since + 11)
    async with asyncio.timeout(PATIENCE):
        await slow.lost.wait()
    stage.fanout.leave(slow.player)
    stage.fanout.leave(slow.player)
    assert stage.fanout.cut_off == 1
    assert slow.player.ended("closed by the peer").reason == "took nothing for too long"


async def test_a_player_that_is_full_before_its_first_keyframe_is_not_taken_in(stage: Stage) -> None:
    slow, _ = await stage.player()
    stage.sockets[0].transport.pause_reading()
    stage.join(slow)
    assert slow.player.state is PlayerState.JOINING
    while not slow.player.full:
        slow.player.say(bytes(1 << 20))
    stage.write(0, keyframe=True)
    await stage.rest()
    assert slow.player.state is PlayerState.JOINING


async def test_sound_alone_is_something_to_begin_with_when_pictures_stopped(stage: Stage) -> None:
    stage.write(0, keyframe=True)
    protocol, _ = await stage.player()
    stage.stream.gop.clear()
    stage.join(protocol)
    assert protocol.player.state is PlayerState.JOINING
    for dts in range(0, 4_000, 20):
        stage.stream.write(Packet(MediaKind.AUDIO, dts, True, b"a", 0))
        await stage.rest()
    assert protocol.player.state is PlayerState.LIVE


async def test_leaving_twice_does_not_forget_who_came_since(stage: Stage) -> None:
    first, _ = await stage.player()
    second, _ = await stage.player()
    stage.write(0, keyframe=True)
    stage.join(first)
    stage.fanout.leave(first.player)
    stage.join(second)
    stage.fanout.leave(first.player)
    assert second.player.group in stage.fanout._groups.values()


@pytest.mark.asyncio(loop_factories=["uvloop"])  # the loop that serves; asyncio's own copies what it cannot send
async def test_stalled_players_share_what_they_are_held_back(stage: Stage) -> None:
    stage.write(0, keyframe=True, body=bytes(3 << 20))
    players = [await stage.player() for _ in range(10)]
    for (protocol, _), writer in zip(players, stage.sockets, strict=True):
        writer.transport.pause_reading()
        stage.write(33)
        await stage.rest()
        stage.join(protocol)
    body = next(iter(stage.stream.gop)).body
    # The cache's own reference, this function's, and one in each player's transport: no copies.
    assert sys.getrefcount(body) >= 10


async def test_bytes_out_is_exact_when_it_is_asked_for(stage: Stage) -> None:
    protocol, reader = await stage.player()
    stage.write(0, keyframe=True)
    stage.join(protocol)
    stage.write(33)
    got = await lines(reader, 3)
    stage.fanout.settle()
    assert protocol.player.session.bytes_out == sum(len(line) + 1 for line in got)
    stage.write(66)
    got += await lines(reader, 1)
    stage.fanout.leave(protocol.player)
    assert protocol.player.session.bytes_out == sum(len(line) + 1 for line in got)
    assert protocol.player.ended("left").bytes_out == protocol.player.session.bytes_out


async def test_who_leaves_while_a_flush_rests_is_credited_with_what_reached_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fanout, "PLAYERS_PER_STEP", 1)
    stage.write(0, keyframe=True)
    players = [await stage.player() for _ in range(3)]
    for protocol, _ in players:
        stage.join(protocol)
    group = players[0][0].player.group
    assert group is not None
    stage.write(33)
    next(group.flush())
    stage.fanout.settle()
    shown = [protocol.player.session.bytes_out for protocol, _ in players]
    stage.fanout.pause(players[1][0].player, True)
    stage.fanout.leave(players[2][0].player)
    for _ in group.flush():
        pass
    stage.fanout.leave(players[0][0].player)
    for (protocol, reader), before, count in zip(players, shown, (3, 2, 2), strict=True):
        protocol.player.transport.write_eof()
        got = await reader.read()
        assert got.count(b"\n") == count
        assert protocol.player.session.bytes_out == len(got) == before


async def test_dropped_packets_are_those_that_a_player_did_not_get(stage: Stage) -> None:
    slow, reader = await stage.player()
    stage.sockets[0].transport.pause_reading()
    stage.write(0, keyframe=True)
    stage.join(slow)
    written = 1 + await fill(stage, slow)
    stage.sockets[0].transport.resume_reading()
    async with asyncio.timeout(PATIENCE):
        await slow.resumed.wait()
    for dts in (100_000, 100_033, 100_066):
        stage.write(dts)
    stage.write(100_100, keyframe=True)
    stage.write(100_133)
    await stage.rest()
    slow.player.transport.write_eof()
    got = await reader.read()
    packets = got.count(b"K") + got.count(b"P")
    assert packets == written + 2
    assert slow.player.session.dropped_packets == 3
    stage.fanout.settle()
    # All but the keyframe that it began with.
    assert (stage.stream.sent_packets, stage.stream.dropped_packets) == (packets - 1, 3)


async def test_a_stream_s_counts_go_on_while_a_player_is_behind_and_stay_when_it_leaves(stage: Stage) -> None:
    good, good_reader = await stage.player()
    slow, _ = await stage.player()
    stage.sockets[1].transport.pause_reading()
    stage.write(0, keyframe=True)
    await stage.rest()
    stage.join(good)
    stage.join(slow)
    body, written = bytes(40_000), 0
    while slow.player.state is PlayerState.LIVE:
        written += 1
        stage.write(33 * written, body=body)
        await lines(good_reader, 3 if written == 1 else 1)
    for late in range(1, 11):
        stage.write(33 * (written + late))
        await lines(good_reader, 1)
        stage.fanout.settle()
        assert slow.player.session.dropped_packets == stage.stream.dropped_packets == late
    assert stage.stream.sent_packets == (written + 10) + written
    stage.fanout.leave(slow.player)
    stage.fanout.leave(good.player)
    assert (stage.stream.sent_packets, stage.stream.dropped_packets) == (2 * written + 10, 10)


async def test_who_waits_for_its_first_keyframe_or_pauses_has_dropped_nothing(stage: Stage) -> None:
    waits, _ = await stage.player()
    pauses, _ = await stage.player()
    stage.join(waits)
    stage.join(pauses)
    stage.fanout.pause(pauses.player, True)
    for dts in (0, 33):
        stage.write(dts)
    await stage.rest()
    stage.fanout.pause(pauses.player, False)
    stage.write(66, keyframe=True)
    await stage.rest()
    assert waits.player.state is pauses.player.state is PlayerState.LIVE
    assert waits.player.session.dropped_packets == pauses.player.session.dropped_packets == 0


async def test_a_window_ends_with_the_last_picture_that_fits(stage: Stage) -> None:
    protocol, reader = await stage.player()
    stage.write(0, keyframe=True)
    stage.write(10_000)
    stage.join(protocol)
    await lines(reader, 3)
    stage.beat.ceiling = 0.2
    stage.beat.add_players(1_000)
    assert stage.beat.pace is Pace.WINDOWS
    stage.write(10_500)
    # The next picture would come half a second later, and the window has a fifth of one.
    assert (await lines(reader, 1))[0].startswith(b"P")
    stage.beat.add_players(-1_000)


async def test_the_end_of_the_stream_is_told_once_after_the_last_packet(stage: Stage) -> None:
    protocol, reader = await stage.player()
    stage.write(0, keyframe=True)
    stage.join(protocol)
    stage.write(33)
    stage.stream.move_to(StreamState.ENDED)
    assert protocol.ended.is_set()
    assert len(await lines(reader, 3)) == 3
    assert protocol.player.state is PlayerState.LEFT


async def test_who_can_be_told_nothing_any_more_keeps_no_end_from_the_others(stage: Stage) -> None:
    mute, _ = await stage.player()
    stays, reader = await stage.player()
    stage.write(0, keyframe=True)
    for protocol in (mute, stays):
        stage.join(protocol)
    stage.sockets[0].transport.pause_reading()
    mute.player.say(bytes(HIGH_WATER - 1))
    mute.player.transport.write_eof()
    stage.write(33)
    mute.player.on_end = lambda: mute.player.say(b"the end")
    later = asyncio.Event()
    stage.stream.subscribe(Later(later), replay=False)
    stage.stream.move_to(StreamState.ENDED)
    assert await lines(reader, 3) == [b"track 0", b"K0 x", b"P33 x"]
    assert stays.ended.is_set()
    assert later.is_set()
    assert mute.player.transport.is_closing()
    assert (mute.player.state, stays.player.state) == (PlayerState.LEFT, PlayerState.LEFT)


async def test_who_fails_when_it_comes_back_costs_nobody_the_keyframe(stage: Stage) -> None:
    mute, _ = await stage.player()
    stays, reader = await stage.player()
    for protocol in (mute, stays):
        stage.join(protocol)
    assert mute.player.state is PlayerState.JOINING
    stage.sockets[0].transport.pause_reading()
    mute.player.say(bytes(HIGH_WATER - 1))
    mute.player.transport.write_eof()
    stage.write(0, keyframe=True)
    stage.write(33)
    assert await lines(reader, 4) == [b"track 0", b"track 0", b"K0 x", b"P33 x"]
    assert mute.player.transport.is_closing()


class Later:
    """A Subscriber that only hears the end."""

    def __init__(self, ended: asyncio.Event) -> None:
        self.on_end = ended.set

    def on_track(self, track: Track) -> None: ...

    def on_metadata(self, metadata: Metadata) -> None: ...

    def on_packet(self, packet: Packet) -> None: ...

    def on_away(self) -> None: ...


async def test_new_parameters_and_a_new_description_reach_players_in_order(stage: Stage) -> None:
    protocol, reader = await stage.player()
    stage.write(0, keyframe=True)
    stage.join(protocol)
    stage.write(33)
    stage.stream.write_track(Track(Codec.H264, b"other", b"V1"))
    stage.stream.write_metadata(Metadata(b"m"))
    stage.write(66, keyframe=True)
    got = await lines(reader, 6)
    assert [line.split(b" ")[0][:1] for line in got] == [b"t", b"K", b"P", b"t", b"m", b"K"]


async def fill(stage: Stage, slow: PlayerProtocol) -> int:
    """Write until ``slow`` cannot take more. Returns how many packets that was."""
    for number in range(200):
        stage.write(33 * (number + 1), body=bytes(256 * 1024))
        await stage.rest()
        if slow.player.full:
            return number + 1
    raise AssertionError("the player takes everything")


async def read_until(reader: asyncio.StreamReader, line: bytes) -> bytes:
    """The first line of the stretch that ends with ``line``: what stood right before it."""
    previous = b""
    while (got := (await reader.readline()).rstrip()) != line:
        previous = got
    return previous
