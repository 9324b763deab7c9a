"""A receiver that fails three times in ten, and a sender that is killed again and again: what is lost, and what comes twice.

``python -m tests.control.webhooks.killed --kills 30`` prints the figures (``--database postgresql`` for the other kind).
"""

import argparse
import asyncio
import contextlib
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from control.auth import models as accounts
from control.db import Database, open_database
from control.vault import Vault
from control.webhooks import courier, outbox
from control.webhooks.messages import EventName, Message
from control.webhooks.service import Webhooks
from mediaserver.config import WebhooksConfig
from mediaserver.transport import targets
from tests.control.webhooks.receiver import HANG, RESET, Receiver
from tests.peers import Postgres

SECRET = bytes(32)
#: Quick, so that a run is: what is tried in a day takes seconds.
CONFIG = WebhooksConfig(timeout=0.5, retry_first=0.1, retry_longest=1.0, max_jobs=16)
#: Seconds between two events of the sender's.
PACE = 0.004


@dataclass(frozen=True, slots=True)
class Figures:
    """What came of it. ``lost`` were written down and never taken; ``twice`` were taken more than once; ``late`` tries were given
    up though the receiver did not hang: a machine that stands still for a moment makes some of them."""

    kills: int
    told: int
    posts: int
    failed: int
    lost: int
    twice: int
    late: int
    ids_that_changed: int

    def __str__(self) -> str:
        share = 100 * self.twice / max(1, self.told)
        return (
            f"{self.kills} kills, {self.told} messages, {self.posts} posts of which {self.failed} failed: {self.lost} lost, "
            f"{self.twice} twice ({share:.2f} %), {self.late} answered too late, {self.ids_that_changed} under another id"
        )


# -- the sender, a process of its own ---------------------------------------------------------------------------------


async def send(url: str, folder: Path, begin: int) -> None:
    """Make events for ever and say of each that it is written down; send them meanwhile."""

    async def judge(host: str, port: int) -> tuple[targets.Target, ...]:
        return targets.resolve(host, port, allow_private=True)

    db = await open_database(url, folder)
    webhooks = Webhooks(db, Vault(SECRET), CONFIG, judge)
    async with webhooks.running():
        number = begin
        while True:
            number += 1
            message = Message(f"msg_{number}", EventName.STREAM_STARTED, f'{{"stream_id": {number}}}')
            async with db.write() as tx:
                await outbox.tell(tx, 1, message, time.time(), CONFIG.retry_for)
            print(number, flush=True)  # noqa: T201 - to whoever kills us
            webhooks.courier.wake()
            await asyncio.sleep(PACE)


# -- who kills it -----------------------------------------------------------------------------------------------------


async def run(url: str, folder: Path, kills: int, seed: int = 1) -> Figures:
    """Kill it ``kills`` times, let it finish, and count."""
    chance = random.Random(seed)
    receiver = Receiver(lambda _: chance.choice([500, HANG, RESET]) if chance.random() < 0.3 else 200)
    async with receiver.running():
        db = await open_database(url, folder)
        try:
            await prepare(db, receiver.url("/hook"))
            told: list[int] = []
            for _ in range(kills):
                told += await _live(url, folder, told[-1] if told else 0, chance.uniform(0.5, 2.0))
            await _finish(db)
            given_up = await _given_up(db)
        finally:
            await db.close()
    accepted = Counter(receiver.accepted)
    ids: dict[bytes, set[str]] = {}
    for post in receiver.posts:
        ids.setdefault(post.body, set()).add(post.id)
    return Figures(
        kills=kills,
        told=len(told),
        posts=len(receiver.posts),
        failed=sum(1 for post in receiver.posts if post.said != 200),
        lost=sum(1 for number in told if f"msg_{number}" not in accepted),
        twice=sum(1 for count in accepted.values() if count > 1),
        late=max(0, given_up - sum(post.said == HANG for post in receiver.posts)),
        ids_that_changed=sum(1 for same in ids.values() if len(same) > 1),
    )


async def prepare(db: Database, url: str) -> None:
    cipher = await Vault(SECRET).cipher()
    async with db.write() as tx:
        user_id = await accounts.insert_user(tx, "owner", "owner@example.com", "none", "user", 0.0)
        assert user_id == 1
        sealed = cipher.seal(outbox.URLS, f'{{"": "{url}"}}'), cipher.seal(outbox.SECRET, "webhook_secret_key")
        await tx.execute(
            "INSERT INTO webhooks (user_id, urls, secret, events, thresholds, enabled, created_at, updated_at)"
            " VALUES (?, ?, ?, '[\"stream.started\"]', '[]', 1, 0, 0)",
            user_id, *sealed,
        )  # fmt: skip


async def _live(url: str, folder: Path, begin: int, seconds: float) -> list[int]:
    """One life of the sender: the numbers that it has written down before it was killed."""
    command = ["-m", "tests.control.webhooks.killed", "--send", url, "--folder", str(folder), "--begin", str(begin + 1000)]
    process = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    told = [int(await process.stdout.readline())]
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while line := await process.stdout.readline():
                told.append(int(line))
    process.kill()
    told += [int(line) for line in (await process.stdout.read()).splitlines(keepends=True) if line.endswith(b"\n")]
    await process.wait()
    return told


async def _finish(db: Database) -> None:
    """A sender that nobody kills, until nothing waits any more. It comes when what the dead ones had taken is due again."""

    async def judge(host: str, port: int) -> tuple[targets.Target, ...]:
        return targets.resolve(host, port, allow_private=True)

    def later() -> float:
        return time.time() + courier.lease(CONFIG.timeout)

    async with asyncio.timeout(120), Webhooks(db, Vault(SECRET), CONFIG, judge, later).running():
        while True:
            async with db.read() as tx:
                left = await tx.row("SELECT count(*) AS number FROM webhook_deliveries WHERE state = 'pending'")
            if left is not None and not left["number"]:
                return
            await asyncio.sleep(0.05)


async def _given_up(db: Database) -> int:
    """How many tries did not see an answer in time."""
    async with db.read() as tx:
        row = await tx.row("SELECT count(*) AS number FROM webhook_attempts WHERE error LIKE '%in time'")
    return 0 if row is None else int(row["number"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--send", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--begin", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.send is not None:
        asyncio.run(send(given.send, given.folder, given.begin))
        return
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        url = ""
        if given.database == "postgresql":
            server = Postgres(Path(folder))
            stack.callback(server.close)
            url = server.url()
        print(asyncio.run(run(url, Path(folder), given.kills)))  # noqa: T201 - what it is for


if __name__ == "__main__":
    main()
