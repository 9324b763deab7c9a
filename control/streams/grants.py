"""What stream rows grant, as it is written down: asked for with a key by who pushes, by its number for what is on air."""

import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from control.db import Database, Row, Transaction
from control.destinations import models as destination_rows
from control.streams import models, service
from control.vault import Vault
from mediaserver.errors import Refused
from mediaserver.ports import PublishGrant

#: Seconds for which an answer serves again (another node may have changed its rows), and how many keys are remembered.
FRESH, REMEMBERED = 2.0, 10_000
#: Seconds for which a stream that was stopped does not begin by itself again, counted anew whenever a push is refused for it.
STOP_HOLD = 60.0
#: Seconds between two of those refusals that are written down.
_NOTED = 1.0
#: Streams whose grants are read at a time.
_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Granted:
    """A stream's row, and what it grants."""

    row: Row
    grant: PublishGrant


class Grants:
    """Reads and remembers them. Whoever changes a row that they are made from calls ``forget`` once that is safe."""

    def __init__(self, db: Database, vault: Vault, clock: Callable[[], float] = time.monotonic) -> None:
        self._db = db
        self._vault = vault
        self._clock = clock
        self._on_air: Callable[[int], bool] = lambda _: False
        self._changes = 0
        self._known: OrderedDict[str, tuple[float, PublishGrant | None]] = OrderedDict()

    def prefer(self, on_air: Callable[[int], bool]) -> None:
        """Of streams with one key a push is for the one that is ``on_air`` already, unless another was started since."""
        self._on_air = on_air

    def forget(self) -> None:
        """Something has changed: what was read before counts no more, nor what is being read now."""
        self._changes += 1
        self._known.clear()

    async def by_key(self, key: str, now: float) -> PublishGrant | None:
        """What a push with ``key`` may do at ``now`` (Unix time); None where the key is no row's.

        Raises Refused where its owner does not want it on air, and DatabaseUnavailable.
        """
        key_hash = self._vault.look_up("stream key", key)
        while True:
            at, grant = self._known.get(key_hash, (float("-inf"), None))
            if self._clock() - at < FRESH:
                return grant
            changes = self._changes
            async with self._db.read() as tx:
                rows = self._by_turn(await models.streams_by_key(tx, key_hash))
                held = held_at(rows, now)
                row, refusal = self._choose(rows, held)
                grant = None if row is None else (await _granted(tx, self._vault, [row]))[0].grant
            if changes != self._changes:
                continue
            if refusal:
                await self._hold_on(key_hash, held, now)
                raise Refused(refusal)
            self._known[key_hash] = self._clock(), grant
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
            return grant

    def _by_turn(self, rows: Sequence[Row]) -> Sequence[Row]:
        """An encoder that comes back soon comes back to its players, even where there is a newer stream with its key."""
        return sorted(rows, key=lambda row: (not row["started"], not self._on_air(row["id"])))

    async def by_ids(self, stream_ids: Collection[int]) -> Mapping[int, Granted]:
        """Of those streams that are there, by id, as it stands when this returns."""
        while True:
            changes, numbers = self._changes, sorted(stream_ids)
            found: dict[int, Granted] = {}
            async with self._db.read() as tx:
                for first in range(0, len(numbers), _AT_ONCE):
                    rows = await models.streams_by_ids(tx, numbers[first : first + _AT_ONCE])
                    found |= {each.row["id"]: each for each in await _granted(tx, self._vault, rows)}
            if changes == self._changes:
                return found

    def _choose(self, rows: Sequence[Row], held: Sequence[Row]) -> tuple[Row | None, str]:
        """Whose turn it is of the streams ``rows`` of one key, which are there by turn; or why it is nobody's, empty where there
        are none."""
        if not rows:
            return None, ""
        first = rows[0]
        if first["owner_disabled"]:
            return None, "the account of its owner is disabled"
        if first["started"]:
            return first, ""
        # The one on air waits for nobody's stop but its own.
        meant = rows[:1] if self._on_air(first["id"]) else rows
        if not any(row["auto_start"] for row in meant):
            return None, "the stream is stopped: start it first"
        # Who stops what is on air does not want its encoder, which tries again, on air as another stream.
        if not any(row["stopped_on_air"] for row in held if row in meant):
            for row in meant:
                if row["auto_start"] and row not in held:
                    return row, ""
        return None, "the stream was stopped: start it, or let nobody push for a minute"

    async def _hold_on(self, key_hash: str, held: Sequence[Row], now: float) -> None:
        """A push was refused: the hold of what was stopped is counted anew."""
        if any(now - row["stopped_at"] > _NOTED for row in held):
            async with self._db.write() as tx:
                await models.hold_on(tx, key_hash, now - STOP_HOLD, now)


def held_at(rows: Sequence[Row], now: float) -> Sequence[Row]:
    """Those of ``rows`` that were stopped, and do not begin by themselves yet."""
    return [row for row in rows if row["stopped_at"] is not None and now - row["stopped_at"] < STOP_HOLD]


async def _granted(tx: Transaction, vault: Vault, rows: Sequence[Row]) -> Sequence[Granted]:
    """What each of ``rows`` grants."""
    cipher, users = await vault.cipher(), sorted({row["user_id"] for row in rows})
    found = await destination_rows.destinations_of(tx, [row["id"] for row in rows], users)
    whose = service.destinations_by_stream(rows, found)
    return [Granted(row, service.grant(cipher, row, whose[row["id"]])) for row in rows]
