"""System information: measured, not assumed."""

import time
import tomllib
from pathlib import Path

import psutil

from tests.conftest import Serve
from tests.contract.asking import ROOMY, Caller, log_in
from tests.contract.conftest import Town
from tests.contract.document import SYSTEM_HEALTH, SYSTEM_STATUS
from tests.e2e.players import LivePlayer
from tests.peers import ROOT, Redis, wait_until


def test_get_system_status(town: Town) -> None:
    def bandwidth() -> float:
        return float(town.admin.get("/api/system/status").json["performance"]["total_bandwidth"])

    with LivePlayer(town.server.rtmp(f"stream_{town.stream_id}")) as player:
        player.wait_for(5)
        # Rates are measured over the last seconds, in which the encoder may have been kept waiting; and so may a probe.
        wait_until(lambda: bandwidth() >= 0.7 * town.clip_kilobits, "the bandwidth of what is pushed", 60)
        town.admin.wait_for("/api/system/status", status="healthy")
        on_air = time.time() - town.started
        seen = town.admin.get("/api/system/status").fits(SYSTEM_STATUS)
    assert seen["status"] == "healthy"
    assert seen["version"] == tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    # Started before the stream, and after its process.
    assert int(on_air) <= seen["uptime"] <= time.time() - psutil.Process(town.server.process.pid).create_time()
    assert seen["services"] == {
        "database": "healthy",
        "redis": "not_configured",
        "nginx": "not_configured",
        "rtmp_server": "running",
    }
    assert seen["performance"]["active_streams"] == 1
    assert seen["performance"]["concurrent_viewers"] >= 1
    for name in ("cpu_usage", "memory_usage", "disk_usage"):
        assert 0 <= seen["system"][name] <= 100
    assert len(seen["system"]["load_average"]) == 3


def test_get_system_health(quiet: Caller) -> None:
    quiet.wait_for("/api/system/health", status="healthy")
    # They are tried while it serves already.
    wait_until(lambda: quiet.get("/api/system/health").json["checks"]["encoders"]["encoders"], "encoders to be tried", 60)
    seen = quiet.get("/api/system/health").fits(SYSTEM_HEALTH)
    states = {name: check["status"] for name, check in seen["checks"].items()}
    assert states.pop("encoders") in ("healthy", "unknown")
    assert states == dict.fromkeys(("database", "storage", "network", "rtmp_server"), "healthy") | dict.fromkeys(
        ("redis", "nginx"), "not_configured"
    )
    assert seen["status"] == "healthy"


def test_what_does_not_answer_is_unhealthy_and_a_503(serve: Serve, tmp_path: Path) -> None:
    """Redis is asked for real; an nginx that is not there is not."""
    redis = Redis(tmp_path)
    try:
        admin = log_in(serve(**ROOMY, redis={"url": redis.url()}, http={"nginx_status_url": "http://127.0.0.1:9/"}))
        # Redis may be late on a machine that is short of time, and is then asked anew; the encoders may not have been tried yet.
        wait_until(lambda: admin.get("/api/system/health").json["checks"]["redis"]["status"] == "healthy", "Redis to answer", 30)
        seen = admin.get("/api/system/health").fits(SYSTEM_HEALTH, 503, empty=("encoders",))
        states = {name: check["status"] for name, check in seen["checks"].items()}
        assert (seen["status"], states["redis"], states["nginx"]) == ("unhealthy", "healthy", "unhealthy")
    finally:
        redis.stop()
    admin.wait_for("/api/system/status", status="unhealthy")

    def redis_state() -> str:
        return str(admin.get("/api/system/status").fits(SYSTEM_STATUS)["services"]["redis"])

    wait_until(lambda: redis_state() == "unhealthy", "Redis to be missed")
