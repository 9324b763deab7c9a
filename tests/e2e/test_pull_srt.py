"""SRT pulled from ffmpeg, which listens. Skipped where libsrt is not installed."""

from pathlib import Path

import pytest

from mediaserver.doctor import Verdict, diagnose_srt
from mediaserver.events import PullChanged
from mediaserver.ingest import srt
from mediaserver.ingest.pull_srt import read
from mediaserver.ingest.pull_terms import SourceRefused, Terms
from mediaserver.ports import InputType, PublishGrant, PullSource
from tests.e2e.players import breaks
from tests.e2e.test_pull_sources import PERIOD, live, pictures, pulling, url_of, watching
from tests.media import Clips
from tests.peers import Peers, free_port, missing


@pytest.fixture(autouse=True)
def _there() -> None:
    if not srt.version():
        missing("libsrt1.5-gnutls")


def listen(peers: Peers, clip: Path, port: int, query: str = "") -> None:
    """ffmpeg waits for a caller and sends it ``clip``."""
    peers.ffmpeg_play(clip, "-c", "copy", "-f", "mpegts", f"srt://127.0.0.1:{port}?mode=listener{query}")


@pytest.mark.parametrize("query", ["", "passphrase=a+long+secret&streamid=%23!::r=cam&latency=300"])
async def test_a_listener_is_pulled(query: str, peers: Peers, clips: Clips) -> None:
    clip, port = clips.get(b_frames=0), free_port()
    listen(peers, clip, port, "&passphrase=a long secret" if "passphrase" in query else "")
    async with pulling(clip.parent, longest_retry=0.3) as town:
        town.engine.start_pull(PullSource(InputType.SRT, f"srt://127.0.0.1:{port}?{query}"), PublishGrant("show"))
        await live(town, "show")
        async with watching(url_of(town, "show")) as player:
            await pictures(town, player, 40)
        assert not breaks(player.seen.numbers, PERIOD)
        assert player.seen.seconds_of_sound > 1
        assert "secret" not in str(town.notes.events) + str(town.engine.snapshot())


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("srt://127.0.0.1:1?passphrase=short", "10 to 79"),
        ("srt://127.0.0.1:1?mode=listener", "as a caller"),
        ("srt://127.0.0.1?latency=1", "needs a port"),
    ],
)
def test_what_cannot_be_asked_for_says_why(url: str, reason: str) -> None:
    with pytest.raises(SourceRefused, match=reason):
        list(read(Terms(InputType.SRT, url, False, True, 1.0, (), 1 << 23, 1 << 30, 10**9, "", True)))


async def test_a_wrong_passphrase_is_told(peers: Peers, clips: Clips) -> None:
    clip, port = clips.get(b_frames=0), free_port()
    listen(peers, clip, port, "&passphrase=a long secret")
    async with pulling(clip.parent, longest_retry=0.3) as town:
        town.engine.start_pull(
            PullSource(InputType.SRT, f"srt://127.0.0.1:{port}?passphrase=another+secret"), PublishGrant("show")
        )
        told = await town.notes.wait_for(PullChanged)
        assert isinstance(told, PullChanged)
        assert "cannot be reached" in told.reason
        assert "secret" not in told.reason


def test_the_doctor_says_whether_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert diagnose_srt().verdict is Verdict.GOOD
    assert srt.version() in diagnose_srt().found
    monkeypatch.setattr(srt, "_LIBRARIES", ("libnothing.so.0",))
    assert diagnose_srt().verdict is Verdict.ABSENT
    assert "libsrt1.5-gnutls" in diagnose_srt().remedy
