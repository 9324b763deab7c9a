"""Commands as real encoders send them, byte for byte, and as nobody should."""

import struct

import pytest

from protocols.errors import RemoteProtocolError
from protocols.rtmp import amf0
from protocols.rtmp.command import (
    Command,
    StatusCode,
    error,
    number,
    on_status,
    read_capabilities,
    read_command,
    read_connect,
    read_name,
    read_status,
    read_stream_id,
    result,
    speaks_enhanced,
    text,
)


def string(value: str) -> bytes:
    return b"\x02" + len(value).to_bytes(2, "big") + value.encode()


def double(value: float) -> bytes:
    return b"\x00" + struct.pack(">d", value)


def connect(**properties: object) -> Command:
    return Command("connect", 1.0, [properties])


def test_command_bytes():
    body = string("publish") + double(5) + b"\x05" + string("key") + string("live")
    assert read_command(body) == Command("publish", 5.0, [None, "key", "live"])


def test_amf3_command_with_and_without_its_leading_zero():
    body = string("createStream") + double(4) + b"\x05"
    assert read_command(b"\x00" + body, amf3=True) == read_command(body, amf3=True) == Command("createStream", 4.0, [None])


def test_amf3_command_with_avmplus_values():
    body = b"\x00" + string("play") + b"\x11\x04\x03" + b"\x11\x01" + b"\x11\x06\x07abc"
    assert read_command(body, amf3=True) == Command("play", 3.0, [None, "abc"])


@pytest.mark.parametrize("body", [b"", double(1), b"\x05", b"\x02\x00\x09abc"])
def test_commands_without_a_name(body):
    with pytest.raises(RemoteProtocolError):
        read_command(body)


@pytest.mark.parametrize("transaction", [b"", b"\x05", string("1"), b"\x01\x01"])
def test_transaction_that_is_no_number_counts_as_none(transaction):
    assert read_command(string("x") + transaction).transaction == 0.0


def test_answers_byte_for_byte():
    assert result(4.0, None, 1.0) == string("_result") + double(4) + b"\x05" + double(1)
    status = (
        b"\x03\x00\x05level"
        + string("error")
        + b"\x00\x04code"
        + string("c")
        + b"\x00\x0bdescription"
        + string("d")
        + b"\x00\x00\x09"
    )
    assert error(2.0, "c", "d") == string("_error") + double(2) + b"\x05" + status
    assert on_status("error", "c", "d") == string("onStatus") + double(0) + b"\x05" + status


def test_status_survives_the_way_there():
    command = read_command(on_status("status", StatusCode.PUBLISH_START, "Go.", extra=1.0))
    assert read_status(command)[:3] == ("status", "NetStream.Publish.Start", "Go.")
    assert read_status(command)[3]["extra"] == 1.0
    assert read_status(Command("onStatus", 0.0, [None])) == ("", "", "", {})


@pytest.mark.parametrize(
    ("properties", "app", "query"),
    [
        ({"app": "live", "tcUrl": "rtmp://host/live"}, "live", ""),
        ({"app": "live/", "tcUrl": "rtmp://host/live/"}, "live", ""),
        ({"app": "/live", "tcUrl": "rtmp://host//live"}, "live", ""),
        ({"app": "live?token=x", "tcUrl": "rtmp://host/live?token=x"}, "live", "token=x"),
        ({"app": "live", "tcUrl": "rtmp://host/live?token=x"}, "live", "token=x"),
        ({"app": "live/?a=b/", "tcUrl": ""}, "live", "a=b/"),
        ({"tcUrl": "rtmp://host:1935/live/inner"}, "live/inner", ""),
        ({"tcUrl": "rtmp://host/live?t=1"}, "live", "t=1"),
        ({"tcUrl": "nonsense"}, "", ""),
        ({"app": ""}, "", ""),
        ({"app": "../../etc"}, "../../etc", ""),
    ],
)
def test_apps_as_encoders_write_them(properties, app, query):
    request = read_connect(connect(**properties, flashVer="FMLE/3.0 (compatible; obs-studio/30.0; FMSc/1.0)"))
    assert (request.app, request.query) == (app, query)
    assert request.tc_url == properties.get("tcUrl", "")
    assert request.encoder.startswith("FMLE/3.0")


@pytest.mark.parametrize("arguments", [[], [None], [{}], [{"app": 5.0}], [{"app": {"app": "live"}}], ["live"]])
def test_connect_without_an_app(arguments):
    with pytest.raises(RemoteProtocolError, match="app"):
        read_connect(Command("connect", 1.0, arguments))


def test_connect_with_odd_types_beside_its_app():
    request = read_connect(
        connect(app="live", tcUrl=5.0, flashVer=None, fourCcList="avc1", capsEx="many", videoFourCcInfoMap=1.0)
    )
    assert (request.tc_url, request.encoder, request.capabilities.fourccs, request.capabilities.extended) == (
        "",
        "",
        frozenset(),
        0,
    )


def test_secrets_stay_out_of_the_repr():
    assert "SECRET" not in repr(read_connect(connect(app="live?SECRET", tcUrl="rtmp://h/live?SECRET")))
    assert "SECRET" not in repr(Command("publish", 5.0, [None, "SECRET"]))


def test_enhanced_capabilities():
    command = connect(
        app="live", fourCcList=["hvc1", 5.0], videoFourCcInfoMap={"av01": 4.0}, audioFourCcInfoMap={"Opus": 4.0}, capsEx=3.0
    )
    capabilities = read_connect(command).capabilities
    assert capabilities.fourccs == {"hvc1", "av01", "Opus"}
    assert capabilities.reconnect
    assert not read_capabilities({"capsEx": -1.0}, {"capsEx": float("nan")}, {"capsEx": float("inf")}).reconnect
    assert speaks_enhanced(command)
    assert not speaks_enhanced(connect(app="live"))


@pytest.mark.parametrize(
    ("value", "name", "query"),
    [
        ("name", "name", ""),
        ("name?token=x", "name", "token=x"),
        ("name?a=1&b=2?3", "name", "a=1&b=2?3"),
        ("flv:name", "name", ""),
        ("mp4:name?token=x", "name", "token=x"),
        ("", "", ""),
        ("?q", "", "q"),
        ("../../x", "../../x", ""),
        ("n" * 60000, "n" * 60000, ""),
        ("a\u202eb\0c", "a\u202eb\0c", ""),
    ],
)
def test_names_pass_through_as_values(value, name, query):
    assert read_name(value) == (name, query)


@pytest.mark.parametrize("value", [None, 1.0, True, {}, [], amf0.UNDEFINED])
def test_names_that_are_no_strings(value):
    with pytest.raises(RemoteProtocolError, match="name"):
        read_name(value)


def test_numbers_and_ids_and_texts():
    assert [number(v) for v in (1.5, 2, True, "3", None)] == [1.5, 2.0, None, None, None]
    ids = [1.0, 1.9, 0.0, -1.0, 2.0**32, float("nan"), float("inf"), "1", None]
    assert [read_stream_id(v) for v in ids] == [1, 1, *[None] * 7]
    assert (text("a"), text(1.0)) == ("a", "")
    command = Command("x", 0.0, [None, {"a": 1.0}])
    assert (command.argument(1), command.argument(2)) == ({"a": 1.0}, None)
