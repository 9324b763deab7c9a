import socket

import pytest

from mediaserver.transport.lost import notice_loss

linux = pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="TCP_USER_TIMEOUT is missing")


def option(peer: socket.socket, name: str) -> int:
    return peer.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))


@linux
@pytest.mark.parametrize("patience", [0.5, 2.0, 15.0, 3600.0])
def test_what_a_listening_socket_is_told_holds_for_who_connects(patience: float) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        notice_loss(listening, patience)
        with socket.create_connection(listening.getsockname()):
            peer, _ = listening.accept()
            with peer:
                assert peer.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                assert option(peer, "TCP_USER_TIMEOUT") == patience * 1000
                probes = option(peer, "TCP_KEEPIDLE") + option(peer, "TCP_KEEPINTVL") * option(peer, "TCP_KEEPCNT")
                assert probes <= max(patience, 4)


def test_a_socket_without_a_network_is_left_alone() -> None:
    near, far = socket.socketpair()
    with near, far:
        notice_loss(near, 5.0)
        assert not near.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
