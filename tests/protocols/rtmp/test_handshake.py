"""The handshake, against blocks written out here and between our two sides."""

import hashlib
import hmac

import pytest

from protocols.errors import RemoteProtocolError
from protocols.rtmp.handshake import (
    CLIENT_NAME,
    SCHEMES,
    SERVER_NAME,
    ClientHandshake,
    Key,
    ServerHandshake,
    find_scheme,
    sign,
)

SALT = bytes.fromhex("f0eec24a8068bee82e00d0d1029e7e576eec5d2d29806fab93b8e636cfeb31ae")
SIMPLE_C1 = bytes(8) + bytes(i % 251 for i in range(1528))


def test_simple_handshake_echoes_c1():
    server = ServerHandshake(b"entropy")
    assert server.receive(b"\x03" + SIMPLE_C1) == b""
    reply = server.reply
    assert len(reply) == 3073
    assert reply[:9] == b"\x03" + bytes(8)
    assert reply[1537:] == SIMPLE_C1
    assert not server.done
    assert server.receive(reply[1:1537]) == b""
    assert server.done


@pytest.mark.parametrize("scheme", SCHEMES)
def test_server_signs_what_a_signing_client_can_verify(scheme):
    c1 = sign(b"\0\0\0\0\x0a\x00\x20\x12" + SIMPLE_C1[8:], CLIENT_NAME, scheme)
    server = ServerHandshake(b"entropy")
    server.receive(b"\x03" + c1)
    s1, s2 = server.reply[1:1537], server.reply[1537:]
    assert find_scheme(s1, SERVER_NAME) == scheme
    # S2's last 32 bytes, computed step by step as a Flash player verifies them.
    place = sum(c1[scheme : scheme + 4]) % 728 + scheme + 4
    key = hmac.new(SERVER_NAME + SALT, c1[place : place + 32], hashlib.sha256).digest()
    assert s2[1504:] == hmac.new(key, s2[:1504], hashlib.sha256).digest()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_digest_stands_where_the_scheme_puts_it(scheme):
    block = sign(SIMPLE_C1, CLIENT_NAME, scheme)
    place = sum(SIMPLE_C1[scheme : scheme + 4]) % 728 + scheme + 4
    changed = [i for i in range(1536) if block[i] != SIMPLE_C1[i]]
    assert changed[0] >= place
    assert changed[-1] < place + 32
    without = block[:place] + block[place + 32 :]
    assert block[place : place + 32] == hmac.new(b"Genuine Adobe Flash Player 001", without, hashlib.sha256).digest()


def test_version_without_a_valid_digest_falls_back_to_simple():
    c1 = b"\0\0\0\0\x0a\x00\x20\x12" + SIMPLE_C1[8:]
    server = ServerHandshake(b"entropy")
    server.receive(b"\x03" + c1)
    assert server.reply[1537:] == c1


@pytest.mark.parametrize("scheme", [None, *SCHEMES])
def test_both_sides_meet_and_keep_what_comes_behind(scheme):
    client, server = ClientHandshake(b"c", scheme=scheme), ServerHandshake(b"s")
    assert server.receive(client.hello) == b""
    assert client.receive(server.reply + b"after S2") == b"after S2"
    assert client.done
    assert server.receive(client.reply + b"after C2") == b"after C2"
    assert server.done
    assert server.receive(b"more") == b"more"


def test_signing_client_answers_a_signing_server_with_a_digest_and_a_simple_one_with_an_echo():
    client, server = ClientHandshake(b"c"), ServerHandshake(b"s")
    server.receive(client.hello)
    client.receive(server.reply)
    s1 = server.reply[1:1537]
    place = sum(s1[772:776]) % 728 + 776
    key = hmac.new(CLIENT_NAME + SALT, s1[place : place + 32], hashlib.sha256).digest()
    assert client.reply[1504:] == hmac.new(key, client.reply[:1504], hashlib.sha256).digest()
    simple = ClientHandshake(b"c")
    simple.receive(b"\x03" + SIMPLE_C1)
    assert simple.reply == SIMPLE_C1


def test_dripped_byte_by_byte():
    client, server = ClientHandshake(b"c"), ServerHandshake(b"s")
    for value in client.hello:
        assert server.receive(bytes([value])) == b""
    for value in server.reply:
        assert client.receive(bytes([value])) == b""
    for value in client.reply:
        assert not server.done
        assert server.receive(bytes([value])) == b""
    assert server.done


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n", b"\x16\x03\x01\x02\x00", b"\x00", b"\x06", b"\xff" * 2000])
def test_not_rtmp_is_known_by_its_first_byte(data):
    with pytest.raises(RemoteProtocolError, match="not RTMP"):
        ServerHandshake().receive(data)


def test_no_bytes_are_no_error():
    assert ServerHandshake().receive(b"") == b""


def test_entropy_is_fresh_unless_given():
    assert ClientHandshake().hello != ClientHandshake().hello
    assert ClientHandshake(b"x").hello == ClientHandshake(b"x").hello


@pytest.mark.parametrize(
    ("key", "message", "digest"),
    [  # RFC 4231, 4.2 and 4.3
        (b"\x0b" * 20, (b"Hi There",), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
        (b"Jefe", (b"what do ya want ", b"for nothing?"), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
    ],
)
def test_a_key_digests_what_comes_in_pieces_and_again(key: bytes, message: tuple[bytes, ...], digest: str):
    reused = Key(key)
    assert reused.digest(*message).hex() == digest
    assert reused.digest(*message).hex() == digest


@pytest.mark.parametrize("length", [0, 1, 63, 64])
def test_a_key_of_any_length_up_to_a_block(length: int):
    key = bytes(range(length))
    assert Key(key).digest(b"message") == hmac.digest(key, b"message", "sha256")


def test_no_two_handshakes_begin_alike():
    assert ClientHandshake(scheme=None).hello != ClientHandshake(scheme=None).hello
