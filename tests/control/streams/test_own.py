"""Whether an RTMP address is the machine's that this server runs on."""

import platform
from types import SimpleNamespace
from urllib.parse import urlsplit

import psutil
import pytest

from control.streams.own import is_own
from mediaserver.config import Config

EVERYWHERE, ALL_OF_IPV6 = Config(), Config.model_validate({"rtmp": {"host": "::"}})
ONE = Config.model_validate({"rtmp": {"host": "192.0.2.7"}})
PORTS = Config.model_validate({"rtmp": {"port": 2935, "tls_port": 2936}})
ASKED = "panel.example.org"


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has a name, and an address of each kind beside those of its loopback."""
    addresses = {"lo": ["127.0.0.1", "::1"], "eth0": ["192.0.2.7", "2001:db8::7", "fe80::7%eth0", "02:00:00:00:00:07"]}
    told = {name: [SimpleNamespace(address=each) for each in theirs] for name, theirs in addresses.items()}
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: told)
    monkeypatch.setattr(platform, "node", lambda: "Studio")


def own(config: Config, url: str, asked: str = ASKED) -> bool:
    return is_own(config, urlsplit(url), asked)


@pytest.mark.parametrize("config", [EVERYWHERE, ALL_OF_IPV6])
@pytest.mark.parametrize(
    "host",
    ["192.0.2.7", "[::ffff:192.0.2.7]", "[2001:DB8:0::7]", "[fe80::7]", "[fe80::7%25eth0]", "3221225991", "studio", "STUDIO."],
)
def test_the_machine_s_addresses_and_its_name_are_ours_where_the_port_is_open_at_all_of_them(config: Config, host: str) -> None:
    assert own(config, f"rtmp://{host}/live/key")
    assert own(config, f"rtmps://{host}/live/key")
    assert not own(config, f"rtmp://{host}:1936/live/key")


@pytest.mark.parametrize(
    "host",
    [
        "0.0.0.0",
        "0",
        "[::]",
        "[::ffff:127.0.0.1]",
        "127.1",
        "127.0.1",
        "127.9.9.9",
        "2130706433",
        "0x7f000001",
        "0X7f.1",
        "0177.0.0.1",
    ],
)
@pytest.mark.parametrize("config", [EVERYWHERE, ONE])
def test_the_loopback_is_ours_however_it_is_written(config: Config, host: str) -> None:
    assert own(config, f"rtmp://{host}/live/key")
    assert not own(config, f"rtmp://{host}:1936/live/key")


@pytest.mark.parametrize(
    "host",
    ["192.0.2.8", "[2001:db8::8]", "studio2", "studio.example", "1.2.3.4.5", "127.0.0.256", "0x", "089.1", "4294967296", "256.1"],
)
def test_any_other_host_is_somebody_else_s(host: str) -> None:
    assert not own(EVERYWHERE, f"rtmp://{host}/live/key")


def test_one_address_that_is_listened_at_is_all_that_is_ours_beside_the_loopback() -> None:
    assert own(ONE, "rtmp://[::ffff:192.0.2.7]/live/key")
    for host in ("[2001:db8::7]", "studio"):
        assert not own(ONE, f"rtmp://{host}/live/key")


def test_what_listens_on_the_usual_port_of_this_machine_while_we_do_not_is_another_server() -> None:
    """A container's usual port is seen from outside, never at an address of its own."""
    for host in ("192.0.2.7", "studio"):
        assert not own(PORTS, f"rtmp://{host}/live/key")
        assert own(PORTS, f"rtmp://{host}:2935/live/key")
        assert own(PORTS, f"rtmps://{host}:2936/live/key")
        assert not own(PORTS, f"rtmps://{host}/live/key")
        # It is the one at which we were asked.
        assert own(PORTS, f"rtmp://{host}/live/key", f"{host}:8080")
