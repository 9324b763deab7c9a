"""doctor: what is found is true of this machine, and each obstacle comes with its remedy."""

import resource
import socket
import sys
from pathlib import Path

import pytest

from mediaserver import doctor, encoders
from mediaserver.config import Config, HttpConfig, LimitsConfig, RtmpConfig, ServerConfig, TranscodeConfig
from mediaserver.doctor import Finding, Verdict
from mediaserver.preflight import Listener, descriptors, obstacle, raise_descriptor_limit, reachable
from tests.peers import free_port


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(
        server=ServerConfig(data_dir=str(tmp_path / "data")),
        rtmp=RtmpConfig(port=free_port()),
        http=HttpConfig(port=free_port()),
        limits=LimitsConfig(max_connections=16),
    )


@pytest.fixture
def no_encoders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "probe", lambda names: [encoders.Probe(name, "UnknownCodecError: x") for name in names])


def found(config: Config) -> dict[str, Finding]:
    return {finding.topic: finding for finding in doctor.diagnose(config)}


@pytest.mark.usefixtures("no_encoders")
def test_a_machine_that_can_serve_has_nothing_that_blocks(config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.examine(config) is False
    told = capsys.readouterr().out
    assert "This machine can serve." in told
    assert f"Port {config.rtmp.port} (rtmp.port)" in told


@pytest.mark.usefixtures("no_encoders")
def test_a_taken_port_blocks_and_says_what_to_do(config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", config.http.port)):
        finding = found(config)[f"Port {config.http.port} (http.port)"]
        assert doctor.examine(config) is True
    assert finding.verdict is Verdict.BLOCKS
    assert finding.found.startswith(f"port {config.http.port} is in use")
    assert f"MEDIASERVER__HTTP__PORT={config.http.port + 1}" in finding.remedy
    assert f"This machine cannot serve: Port {config.http.port} (http.port)." in capsys.readouterr().out


@pytest.mark.usefixtures("no_encoders")
def test_a_data_folder_that_cannot_be_made_blocks(config: Config, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    bad = config.model_copy(update={"server": ServerConfig(data_dir=str(tmp_path / "file" / "data"))})
    assert found(bad)["Data folder"].verdict is Verdict.BLOCKS


@pytest.mark.usefixtures("no_encoders")
def test_too_few_descriptors_is_advice_with_the_figure(config: Config) -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most >= 1 << 20:
        pytest.skip("this machine allows more descriptors than can be configured")
    greedy = config.model_copy(update={"limits": LimitsConfig(max_connections=1_000_000)})
    finding = found(greedy)["Descriptors"]
    assert finding.verdict is Verdict.ADVICE
    assert str(descriptors(greedy, 1_000_000)) in finding.remedy


def test_a_clock_that_was_never_set_is_told() -> None:
    assert doctor._clock(0).verdict is Verdict.ADVICE
    assert doctor._clock(doctor.EPOCH).verdict is Verdict.GOOD


@pytest.mark.usefixtures("no_encoders")
def test_who_would_encode_and_why_not_the_others_is_told(config: Config) -> None:
    told = [finding for finding in doctor.diagnose(config) if finding.topic == "Renditions"]
    assert [finding.found.split(" (")[0] for finding in told] == ["h264: libx264", "hevc: libx265", "av1: libsvtav1"]
    assert "without h264_nvenc (not in this FFmpeg), h264_qsv (not in this FFmpeg)" in told[0].found
    pinned = config.model_copy(update={"transcode": TranscodeConfig(encoder="h264_nvenc")})
    (first, *_) = [finding for finding in doctor.diagnose(pinned) if finding.topic == "Renditions"]
    assert first.verdict is Verdict.ADVICE
    assert "transcode.policy" in first.remedy


def test_a_decoder_in_hardware_is_tried_like_an_encoder() -> None:
    (probe,) = encoders.probe(["decode:no_such_device"])
    assert probe.failure


def test_software_encoders_really_encode_and_unknown_ones_say_so() -> None:
    probes = encoders.probe(["libx264", "no_such_encoder", "libx265", "libsvtav1"])
    assert [each.encoder for each in probes if not each.failure] == ["libx264", "libx265", "libsvtav1"]
    assert probes[1].failure.startswith("UnknownCodecError")


def test_an_encoder_that_takes_its_process_down_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # A stand-in for the interpreter: it dies on "crash" and reports success for anything else.
    child = tmp_path / "python"
    child.write_text(
        f"#!{sys.executable}\nimport os, sys\n"
        "for name in sys.argv[3:]:\n"
        "    if name == 'crash': sys.stdout.flush(); os.abort()\n"
        '    print(f\'["{name}", ""]\')\n'
    )
    child.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(child))
    assert [(each.encoder, each.failure) for each in encoders.probe(["a", "crash", "b"])] == [
        ("a", ""),
        ("crash", "took its process down (status -6)"),
        ("b", ""),
    ]


@pytest.mark.parametrize(
    ("host", "told"), [("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("127.0.0.1", "127.0.0.1"), ("live.example", "live.example")]
)
def test_a_listener_is_reached_from_this_machine_by(host: str, told: str) -> None:
    assert reachable(host) == told


def test_obstacles_are_told_by_what_is_wrong() -> None:
    assert obstacle(Listener("rtmp.port", "127.0.0.1", free_port())) == ""
    assert obstacle(Listener("http.port", "no.such.host.invalid", 8080)).endswith("correct http.host")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert f"port {port} is in use by " in obstacle(Listener("rtmp.port", "0.0.0.0", port))


def test_the_descriptor_limit_is_raised_as_far_as_is_allowed() -> None:
    assert raise_descriptor_limit() == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
