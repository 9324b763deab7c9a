"""What is told of a server that refuses a pull: its words, and none of our secrets in them."""

import socket
import threading

import pytest

from mediaserver.ingest.pull_rtmp import read
from mediaserver.ingest.pull_terms import SourceLost, Terms
from mediaserver.ports import InputType
from protocols.rtmp.command import StatusCode
from protocols.rtmp.events import ConnectRequested, PlayRequested
from protocols.rtmp.session import ServerSession


def refuse(server: socket.socket, words: str) -> None:
    """Answer one player with ``words``."""
    connection, _ = server.accept()
    with connection:
        session = ServerSession()
        while data := connection.recv(1 << 16):
            for event in session.receive_data(data):
                if isinstance(event, ConnectRequested):
                    session.accept_connect()
                elif isinstance(event, PlayRequested):
                    session.refuse_play(event, StatusCode.PLAY_FAILED, words)
            connection.sendall(session.data_to_send())


def test_a_refusal_is_told_without_what_we_asked_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        words = "no stream show-key?token=hunter2&more=a b for a b\n\x1b[31m"
        thread = threading.Thread(target=refuse, args=(server, words))
        thread.start()
        url = f"rtmp://127.0.0.1:{server.getsockname()[1]}/live/show-key?token=hunter2&more=a%20b"
        terms = Terms(InputType.RTMP, url, False, True, 30.0, (), 1 << 20, 1 << 30, 10**9, "", True)
        with pytest.raises(SourceLost, match="the server refuses: no stream …") as told:
            list(read(terms))
        thread.join()
    for secret in ("show-key", "hunter2", "a b", "\n", "\x1b"):
        assert secret not in str(told.value)
