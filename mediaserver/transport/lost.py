"""Peers that vanish without a word: how the kernel is told to miss them."""

import socket
from typing import Final

#: Probes that an idle peer may leave unanswered.
PROBES: Final = 3


def notice_loss(peer: socket.socket, patience: float) -> None:
    """Let the kernel end a connection whose other end acknowledges nothing for ``patience`` seconds.

    That is TCP_USER_TIMEOUT (RFC 5482) for what is on its way, and keep-alive probes (RFC 9293, 3.8.4) where nothing is: the
    one does not begin while the other has anything to wait for. What a listening socket is told, its connections inherit.
    """
    if peer.family == socket.AF_UNIX:
        return
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", max(1, int(patience / 2))),
        ("TCP_KEEPINTVL", max(1, int(patience / 2 / PROBES))),
        ("TCP_KEEPCNT", PROBES),
        ("TCP_USER_TIMEOUT", int(patience * 1000)),
    ):
        if hasattr(socket, option):  # not everywhere
            peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
