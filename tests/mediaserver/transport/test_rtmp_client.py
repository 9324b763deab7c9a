"""The client's end of a connection: reached, answered, listened to, or not."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from mediaserver.transport import rtmp_client
from mediaserver.transport.rtmp_client import ClientConnection, Taken, Tls, Unreachable, reach
from mediaserver.transport.targets import Target
from mediaserver.transport.trust import client_tls
from protocols.rtmp.client import ClientSession
from protocols.rtmp.events import Connected, Event
from protocols.rtmp.message import VIDEO
from tests.mediaserver.relay.target import TargetServer, target_server
from tests.mediaserver.running import PATIENCE, self_signed, skip_where_writelines_pauses_nobody
from tests.peers import free_port


class Listener:
    """A ClientHandler that keeps what it hears."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.lost: list[str] = []
        self.heard = asyncio.Event()

    def on_events(self, events: list[Event]) -> None:
        self.events += events
        self.heard.set()

    def on_writable(self) -> None:
        self.heard.set()

    def on_lost(self, reason: str) -> None:
        self.lost.append(reason)
        self.heard.set()

    async def until(self, kind: type[object]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not any(isinstance(event, kind) for event in self.events):
                self.heard.clear()
                await self.heard.wait()


def client() -> tuple[ClientConnection, Listener]:
    listener = Listener()
    return ClientConnection(ClientSession("live", "rtmp://127.0.0.1/live"), listener, 300.0), listener


def here(port: int, address: str = "127.0.0.1") -> Target:
    return Target(socket.AF_INET, address, port)


async def dial(
    *targets: Target, reach_timeout: float = PATIENCE, answer_timeout: float = PATIENCE, tls: Tls | None = None
) -> tuple[ClientConnection, Listener]:
    connection, listener = client()
    await connection.open(targets, reach_timeout=reach_timeout, answer_timeout=answer_timeout, tls=tls)
    return connection, listener


async def publishing(server: TargetServer) -> tuple[ClientConnection, Listener]:
    connection, listener = await dial(here(server.port))
    connection.session.publish("key")
    connection.flush()
    await server.until(lambda: bool(server.visits) and bool(server.visits[0].keys))
    async with asyncio.timeout(PATIENCE):
        while connection.session.stream_state is None or connection.session.stream_state.value != "publishing":
            listener.heard.clear()
            await listener.heard.wait()
    return connection, listener


@pytest.fixture
def hole() -> Iterator[int]:
    """A port whose queue of connections is full: who comes now hears nothing."""
    with socket.socket() as listening, contextlib.ExitStack() as stack:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        address = listening.getsockname()
        for _ in range(3):
            caller = stack.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(address)
        yield address[1]


async def test_the_first_address_that_lets_us_is_taken(hole: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtmp_client, "ROUND", 0.1)
    async with target_server() as server:
        closed = here(free_port())
        connection, listener = await dial(closed, here(hole), here(server.port))
        await listener.until(Connected)
        connection.close()
        await asyncio.wait_for(connection.gone, PATIENCE)
        assert listener.lost == []


async def test_nobody_there_has_its_words(hole: int) -> None:
    for target, words, patience in (
        (here(free_port()), "refused", PATIENCE),
        (here(hole), "no answer to the attempt to connect", 0.2),
    ):
        with pytest.raises(Unreachable, match=words) as error:
            await dial(target, reach_timeout=patience)
        assert error.value.silent
    with pytest.raises(Unreachable, match="no address"):
        await dial()


async def test_who_takes_the_connection_and_says_nothing_is_given_so_much_time() -> None:
    async with target_server() as server:
        server.read.clear()
        connection, _ = client()
        with pytest.raises(Unreachable, match=r"no answer within 0\.2 s") as error:
            await connection.open((here(server.port),), reach_timeout=PATIENCE, answer_timeout=0.2, tls=None)
        assert error.value.silent
        await asyncio.wait_for(connection.gone, PATIENCE)


async def test_tls_needs_trust_and_the_right_name(tmp_path: Path) -> None:
    certificate, key = await asyncio.to_thread(self_signed, tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    async with target_server(context) as server, target_server() as plain:
        connection, listener = await dial(here(server.port), tls=Tls(client_tls(certificate), "127.0.0.1"))
        await listener.until(Connected)
        assert connection.taken().acknowledged > 0
        connection.close()
        await asyncio.wait_for(connection.gone, PATIENCE)
        for tls in (Tls(client_tls(), "127.0.0.1"), Tls(client_tls(certificate), "other.example")):
            with pytest.raises(Unreachable, match="certificate") as error:
                await dial(here(server.port), tls=tls)
            assert not error.value.silent
        plain.read.clear()
        with pytest.raises(Unreachable, match="no answer within"):
            await dial(here(plain.port), tls=Tls(client_tls(certificate), "127.0.0.1"), answer_timeout=0.3)


async def test_bodies_are_sent_as_they_are_and_the_peer_s_kernel_says_what_it_took() -> None:
    skip_where_writelines_pauses_nobody()
    body = bytes(50_000)
    async with target_server() as server:
        connection, _ = await publishing(server)
        connection.session.send_media(VIDEO, 0, body)
        pieces = connection.session.pieces_to_send()
        assert pieces[1] is body
        assert connection.session.data_to_send() == b""
        server.read.clear()
        before = connection.taken().acknowledged
        count = 0
        # A kernel may take tens of megabytes.
        while connection.writable and count < 2000:
            connection.session.send_media(VIDEO, count, body)
            connection.flush()
            count += 1
        assert not connection.writable
        assert connection.taken().waiting
        assert connection.buffered
        server.read.set()
        await server.until(lambda: len(server.visits[0].media) == count)
        async with asyncio.timeout(PATIENCE):
            while connection.taken().waiting:  # noqa: ASYNC110 - the kernel announces nothing
                await asyncio.sleep(0.01)
        assert connection.writable
        assert connection.taken().acknowledged - before >= count * len(body)
        connection.close()


async def test_who_closes_says_goodbye_behind_everything_else() -> None:
    async with target_server() as server:
        connection, listener = await publishing(server)
        for number in range(100):
            connection.session.send_media(VIDEO, number, bytes(50_000))
        connection.close()
        connection.close()
        await server.until(lambda: server.visits[0].over)
        assert len(server.visits[0].media) == 100
        assert server.visits[0].goodbyes == 1
        await asyncio.wait_for(connection.gone, PATIENCE)
        assert listener.lost == []
        assert connection.taken() == (0, False)


@pytest.mark.parametrize("looks", [15, 1_000_000])
async def test_who_goes_on_taking_may_take_its_time_and_not_for_ever(looks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtmp_client, "CLOSING_TIME", 0.02)
    seen = 0

    def slowly(_: ClientConnection) -> Taken:
        nonlocal seen
        seen += 1
        return Taken(min(seen, looks), waiting=True)

    async with target_server() as server:
        connection, listener = await publishing(server)
        server.read.clear()
        monkeypatch.setattr(ClientConnection, "taken", slowly)
        if looks == 15:  # so many that they are not over by the time alone
            monkeypatch.setattr(rtmp_client, "_MOST_TURNS", 10_000)
        connection.close()
        await asyncio.wait_for(connection.gone, PATIENCE)
        assert seen == 19 if looks == 15 else seen > 4
        assert listener.lost == []


async def test_a_reset_does_not_wait_for_what_is_on_its_way() -> None:
    async with target_server() as server:
        connection, listener = await publishing(server)
        server.read.clear()
        for number in range(400):
            connection.session.send_media(VIDEO, number, bytes(50_000))
            connection.flush()
        connection.reset()
        await asyncio.wait_for(connection.gone, PATIENCE)
        server.read.set()
        await server.until(lambda: server.visits[0].over)
        assert len(server.visits[0].media) < 400
        assert listener.lost == []


async def test_a_connection_that_is_lost_says_why() -> None:
    async with target_server() as server:
        _, listener = await publishing(server)
        server.visits[0].writer.transport.abort()
        async with asyncio.timeout(PATIENCE):
            while not listener.lost:
                listener.heard.clear()
                await listener.heard.wait()
        assert listener.lost[0] in ("the target closed the connection", "the connection was reset")
        talker, listener = await publishing_again(server)
        server.visits[-1].writer.write(b"\xff" * 100)  # a chunk that continues what never began
        async with asyncio.timeout(PATIENCE):
            while not listener.lost:
                listener.heard.clear()
                await listener.heard.wait()
        await asyncio.wait_for(talker.gone, PATIENCE)


async def publishing_again(server: TargetServer) -> tuple[ClientConnection, Listener]:
    connection, listener = await dial(here(server.port))
    await listener.until(Connected)
    return connection, listener


@pytest.mark.parametrize("beside", [False, True])
async def test_who_did_not_answer_is_asked_anew(beside: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not only when the kernel repeats its question. ``beside``: by a name that also leads where nobody is."""
    monkeypatch.setattr(rtmp_client, "ROUND", 0.1)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        server.setblocking(False)
        targets = [here(server.getsockname()[1])]
        for _ in range(3):  # what nobody accepts fills the queue; whoever comes then is not answered
            caller = stack.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(server.getsockname())
        targets += [here(free_port())] * beside
        rounds, reach_once = 0, rtmp_client._reach_once

        async def counted(targets: Sequence[Target], patience: float) -> socket.socket | list[str]:
            nonlocal rounds
            rounds += 1
            if rounds >= 3:
                with contextlib.suppress(BlockingIOError):
                    stack.enter_context(server.accept()[0])
            return await reach_once(targets, patience)

        monkeypatch.setattr(rtmp_client, "_reach_once", counted)
        stack.enter_context(await reach(targets, PATIENCE))
        assert rounds >= 3


async def test_a_silence_is_the_reason_whoever_else_has_a_word(hole: int) -> None:
    closed = here(free_port())
    for targets in ([here(hole), closed], [closed, here(hole)]):
        with pytest.raises(Unreachable, match="no answer to the attempt to connect"):
            await reach(targets, 0.2)


async def test_each_of_many_addresses_has_the_time_that_an_answer_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """And where all but one have said no, that one has all of it."""
    rounds: list[tuple[list[Target], float]] = []
    answers = [[rtmp_client._SILENCE] * 4, ["no", rtmp_client._SILENCE, "no", "no"], ["no", "no", "no", "never"]]

    async def answered(targets: Sequence[Target], patience: float) -> list[str]:
        rounds.append((list(targets), patience))
        return answers[len(rounds) - 1]

    monkeypatch.setattr(rtmp_client, "_reach_once", answered)
    one, two, three, four = targets = [here(port) for port in range(1, 5)]
    with pytest.raises(Unreachable, match="never"):
        await reach(targets, 400.0)
    assert [asked for asked, _ in rounds] == [targets, targets, [one, three, four, two]]
    for (_, patience), silent in zip(rounds, (4, 4, 1), strict=True):
        assert patience / silent == pytest.approx(rtmp_client.ROUND, rel=0.1)


async def test_who_does_not_stay_leaves_before_it_says_what_it_wants() -> None:
    async with target_server() as server:
        connection, listener = client()
        await connection.open([here(server.port)], reach_timeout=PATIENCE, answer_timeout=PATIENCE, tls=None, stay=False)
        await server.until(lambda: server.visits[0].over)
        assert server.visits[0].session.bytes_received
        assert server.visits[0].events == []
        assert (listener.events, listener.lost) == ([], [])
