"""From the outbox to the receivers: takes what is due, sends it, and writes down what came of it.

What is taken stays in the outbox and is due again a little later: if this process dies, it or another one sends it again, under
the same id. Several nodes on one database take different rows.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from control.db import Conflict, Database, DatabaseUnavailable, Row, Transaction
from control.vault import Unreadable, Vault
from control.waits import Waits
from control.webhooks import models, outbox, signature
from control.webhooks.backoff import Backoff
from control.webhooks.outcome import Outcome
from control.webhooks.turns import TURN, Turn, Turns

if TYPE_CHECKING:
    from mediaserver.config import WebhooksConfig

log = logging.getLogger(__name__)

#: Deliveries to one webhook at a time: one that hangs leaves room for the others.
EACH = 4
#: Seconds beyond all waiting after which whoever took a delivery counts as dead.
GRACE = 5.0
#: Seconds between two looks for what other processes put into the outbox.
POLL = 5.0
#: Seconds that a database which does not answer is left alone.
RETRY = 1.0
#: Seconds between two looks for what is old.
TIDY = 600.0
GONE = 410


class Post(Protocol):
    """What sends."""

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome: ...


@dataclass(frozen=True, slots=True)
class _Result:
    delivery: Row
    at: float
    outcome: Outcome


def lease(timeout: float) -> float:
    """Seconds for which a delivery belongs to whoever took it: its turn has come by then, and its POST (``timeout`` at most) is
    over."""
    return (EACH - 1) * TURN + timeout + GRACE


class Courier:
    """One task; ``max_jobs`` POSTs at a time."""

    def __init__(
        self,
        db: Database,
        vault: Vault,
        post: Post,
        config: "WebhooksConfig",
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._db = db
        self._vault = vault
        self._post = post
        self._config = config
        self._clock = clock
        self._backoff = Backoff(config.retry_first, config.retry_longest, chance)
        self._sending: dict[asyncio.Task[None], int] = {}
        self._turns = Turns()
        self._results: list[_Result] = []
        self._wake = asyncio.Event()
        self._tidied_at = float("-inf")
        self._waits = Waits(log, "webhooks_wait", "webhooks_go_on")
        self._quiet = asyncio.Event()

    def wake(self) -> None:
        """There is something new in the outbox."""
        self._quiet.clear()
        self._wake.set()

    async def quiet(self, patience: float) -> bool:
        """Wait until nothing is due or on its way. False if that takes longer than ``patience`` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._quiet.wait()
        return self._quiet.is_set()

    async def run(self) -> None:
        """Send, for ever."""
        due = True
        while True:
            try:
                pause = await self._round(look=due)
            except (DatabaseUnavailable, Conflict) as error:
                self._waits.begin(str(error))
                await asyncio.sleep(RETRY)
                continue
            except Exception:  # a bug must not silence all webhooks for ever
                log.exception("webhooks_failed")
                await asyncio.sleep(RETRY)
                continue
            self._waits.end()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            # Woken or not: something is due, or a look costs little.
            due = self._wake.is_set()
            self._wake.clear()

    async def close(self) -> None:
        """``run`` is over: what has not arrived by now is sent again after the next start. What has is written down."""
        for task in list(self._sending):
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)
        with contextlib.suppress(DatabaseUnavailable, Conflict):
            async with self._db.write() as tx:
                await self._settle(tx, self._results)

    # -- the outbox ---------------------------------------------------------------------------------------------------

    async def _round(self, *, look: bool) -> float:
        """Write down what came of what was sent, and take what is due, in one transaction. Seconds until the next round."""
        now = self._clock()
        if now - self._tidied_at >= TIDY:
            self._tidied_at = now
            async with self._db.write() as tx:
                await models.tidy(tx, now, now - self._config.keep * 86400)
        if not look and not self._results:
            async with self._db.read() as tx:
                pause = self._pause(await models.next_due(tx), now)
            if pause > 0:
                return pause
        free = self._config.max_jobs - len(self._sending)
        results = self._results[:]
        claimed: Sequence[Row] = ()
        webhooks: Mapping[int, Row] = {}
        async with self._db.write() as tx:
            await self._settle(tx, results)
            if free > 0:
                until = now + lease(self._config.timeout)
                claimed = await models.claim(tx, now, until, free, EACH, Counter(self._sending.values()))
                webhooks = await models.webhooks_by_id(tx, sorted({row["webhook_id"] for row in claimed}))
            due = await models.next_due(tx)
        del self._results[: len(results)]
        # The database gives them in whatever order.
        for row in sorted(claimed, key=lambda row: row["id"]):
            self._begin(row, webhooks[row["webhook_id"]])
        if self._sending or self._results:
            self._quiet.clear()
        elif due is None or due > now:
            self._quiet.set()
        # What is due and was not taken waits for one that is on its way, whose end wakes us.
        return POLL if self._sending and due is not None and due <= now else max(0.01, self._pause(due, now))

    @staticmethod
    def _pause(due: float | None, now: float) -> float:
        return POLL if due is None else min(POLL, max(0.0, due - now))

    async def _settle(self, tx: Transaction, results: Sequence[_Result]) -> None:
        # In one order, so that two nodes do not wait for each other.
        for result in sorted(results, key=lambda result: (result.delivery["webhook_id"], result.delivery["id"])):
            row, outcome = result.delivery, result.outcome
            # The webhook before what hangs on it.
            if outcome.arrived:
                await models.note_success(tx, row["webhook_id"])
                await models.delivered(tx, row["id"], outcome.status or 0, result.at + outcome.seconds)
            else:
                await self._failed(tx, row, outcome)
            await models.insert_attempt(
                tx, row["id"], row["attempts"], result.at, outcome.status, outcome.error, outcome.seconds, outcome.response
            )

    async def _failed(self, tx: Transaction, row: Row, outcome: Outcome) -> None:
        now = self._clock()
        since = await models.note_failure(tx, row["webhook_id"], now)
        next_at: float | None = now + self._backoff.wait(row["attempts"], outcome.wish)
        if next_at is not None and next_at > row["give_up_at"]:
            next_at = None
        await models.put_off(tx, row["id"], row["attempts"], outcome.status, outcome.error, next_at, now)
        if outcome.status == GONE:
            await models.disable_webhook(tx, row["webhook_id"], "the receiver answered 410: it is gone", now)
        elif now - since >= self._config.disable_after:
            await models.disable_webhook(tx, row["webhook_id"], "the receiver has failed for too long", now)

    # -- the receivers ------------------------------------------------------------------------------------------------

    def _begin(self, row: Row, webhook: Row) -> None:
        """Send it. A first try has its turn after the one before it; a retry comes out of its order anyway."""
        number = row["webhook_id"]
        turn = self._turns.take(number) if row["attempts"] == 1 else Turn(None)
        task = asyncio.get_running_loop().create_task(self._send(row, webhook, turn))
        self._sending[task] = number
        task.add_done_callback(lambda task: self._sent(task, turn))

    async def _send(self, row: Row, webhook: Row, turn: Turn) -> None:
        await turn.come()
        at, body = self._clock(), row["body"].encode()
        try:
            cipher = await self._vault.cipher()
            url = outbox.url_of(cipher, webhook, row["event"])
            headers = signature.headers(row["message_id"], at, body, outbox.secrets_of(cipher, webhook, at))
        except Unreadable:
            outcome = Outcome(None, "the webhook's address or secret cannot be read any more", 0.0)
        else:
            headers = {**headers, "X-Webhook-Event": row["event"]}
            if url:
                turn.begin()
                outcome = await self._post.post(url, body, headers)
            else:
                outcome = Outcome(None, "the webhook has no URL for this event any more", 0.0)
        self._results.append(_Result(row, at, outcome))
        facts = {"webhook": row["webhook_id"], "message": row["message_id"], "attempt": row["attempts"], "status": outcome.status}
        log.info("webhook_sent", extra={"facts": facts | ({"reason": outcome.error} if outcome.error else {})})

    def _sent(self, task: asyncio.Task[None], turn: Turn) -> None:
        self._turns.end(self._sending.pop(task), turn)
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("webhooks_failed", exc_info=error)
