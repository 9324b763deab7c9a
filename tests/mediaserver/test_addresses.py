"""Who is at the other end, by what proxies say."""

from ipaddress import ip_network

import pytest

from mediaserver.addresses import client_address, is_trusted

TRUSTED = [ip_network("10.0.0.0/8")]


@pytest.mark.parametrize("hop", ["8.8.8.8:4711", "unknown", "_hidden", "<script>", "[2001:db8::1]", "127.0.0.1, 8.8.8.8:4711"])
def test_somebody_whom_nobody_can_make_out_is_not_the_proxy_that_names_him(hop: str) -> None:
    address = client_address("10.0.0.1", hop, TRUSTED)
    assert address == ""
    assert not is_trusted(address, TRUSTED)


@pytest.mark.parametrize("forwarded", ["", ",", " , ,"])
def test_a_proxy_that_names_nobody_speaks_for_itself(forwarded: str) -> None:
    assert client_address("10.0.0.1", forwarded, TRUSTED) == "10.0.0.1"


def test_an_empty_element_hides_nobody() -> None:
    assert client_address("10.0.0.1", "203.0.113.9, ,", TRUSTED) == "203.0.113.9"
