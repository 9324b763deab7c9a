import pytest

from mediaserver.errors import Refused
from mediaserver.relay.address import RelayAddress, is_own, parse


@pytest.mark.parametrize(
    ("url", "app", "key", "shown"),
    [
        ("rtmp://a.example/live2/abcd-efgh", "live2", "abcd-efgh", "rtmp://a.example/live2"),
        ("rtmp://A.Example:1935/app/live_1_x?bandwidthtest=true", "app", "live_1_x?bandwidthtest=true", "rtmp://a.example/app"),
        ("rtmps://a.example:443/rtmp/FB-1-0-x?s_ps=1&a=b/c", "rtmp", "FB-1-0-x?s_ps=1&a=b/c", "rtmps://a.example/rtmp"),
        ("rtmp://a.example/live2?backup=1/abcd", "live2?backup=1", "abcd", "rtmp://a.example/live2"),
        ("rtmp://a.example/app/instance/key", "app/instance", "key", "rtmp://a.example/app/instance"),
        ("rtmps://a.example/key", "", "key", "rtmps://a.example/"),
        ("rtmp://[2001:db8::1]:1936/live/key", "live", "key", "rtmp://[2001:db8::1]:1936/live"),
    ],
)
def test_the_last_part_is_the_key_and_is_not_shown(url: str, app: str, key: str, shown: str) -> None:
    address = parse(url)
    assert (address.app, address.key, address.shown) == (app, key, shown)
    assert key not in repr(address)
    assert address.tc_url == f"{shown.partition(address.authority)[0]}{address.authority}/{app}"


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("http://a.example/live/key", "begins with"),
        ("a.example/live/key", "begins with"),
        ("rtmp://a.example/live/", "stream key"),
        ("rtmp://a.example", "stream key"),
        ("rtmp://a.example/live/?x=1", "stream key"),
        ("rtmp:///live/key", "needs a host"),
        ("rtmp://a.example:0/live/key", "needs a host"),
        ("rtmp://a.example:70000/live/key", "needs a host"),
        ("rtmp://[::1/live/key", "needs a host"),
        ("rtmp://user:word@a.example/live/key", "user name"),
        ("rtmp://a.example/live/k\ney", "characters"),
        ("rtmp://a.example/live/k\u202eey", "characters"),
    ],
)
def test_an_address_that_cannot_be_says_why_and_not_what(url: str, complaint: str) -> None:
    with pytest.raises(Refused, match=complaint) as refusal:
        parse(url)
    assert "ey" not in refusal.value.reason.replace("key", "").replace("they", "")


def test_a_target_may_send_us_elsewhere_with_the_same_key() -> None:
    address = parse("rtmp://a.example/live/key?x=1")
    assert address.redirected("") == address
    assert address.redirected("rtmp://b.example:1936/other?t=1") == RelayAddress(
        "rtmp", "b.example", 1936, "other?t=1", "key?x=1"
    )
    assert address.redirected("/other").tc_url == "rtmp://a.example/other"
    assert address.redirected("other").tc_url == "rtmp://a.example/other"
    assert address.redirected("//b.example/live").tc_url == "rtmp://b.example/live"
    assert address.redirected("rtmps://b.example/live").encrypted
    with pytest.raises(Refused, match="encryption"):
        parse("rtmps://a.example/live/key").redirected("rtmp://a.example/live")
    with pytest.raises(Refused, match="begins with"):
        address.redirected("http://a.example/live")


def test_what_a_peer_says_is_shown_without_what_is_secret() -> None:
    address = parse("rtmp://a.example/live?t=token-1/key-2")
    assert address.redact("no key-2 with token-1\x00\u202e") == "no … with …"
    assert parse("rtmp://a.example/live/name?sig=abcdef&v=1").redact("name?sig=abcdef&v=1 name abcdef 1") == "… … … 1"
    assert len(address.redact("x" * 1000)) == 200


def test_our_own_address_is_known_in_every_spelling() -> None:
    ports = {1935}
    for own in ("127.0.0.1", "127.1.2.3", "0.0.0.0", "::", "::1", "::ffff:127.0.0.1", "not an address"):
        assert is_own(own, 1935, ports)
        assert not is_own(own, 1936, ports)
    assert not is_own("192.0.2.1", 1935, ports)
