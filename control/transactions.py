"""What transactions of several nodes on one database (PostgreSQL) owe each other.

They hold rows in one order, so that no two wait for each other: the administrators by their ids (whoever changes a user), then
the user, then what is the user's (keys and streams, destinations, webhooks, logins, failures to log in), and after a webhook its
deliveries. Who changes one row and no other needs to hold nothing first.

Where two have waited for each other all the same, the database gives up one of them, and that one is begun anew: it alone, not
what was committed before it.
"""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from control.db import Deadlocked, Transaction

T = TypeVar("T")
#: A Database's ``read`` or ``write``.
Begin = Callable[[], AbstractAsyncContextManager[Transaction]]

#: How often a transaction is tried that the database gives up in favour of another.
TRIES = 5


async def transact(begin: Begin, work: Callable[[Transaction], Awaitable[T]]) -> T:
    """What ``work`` gives in a transaction, once that is committed.

    What ``work`` does outside the database is harmless if it does it again. Raises what it raises, and DatabaseUnavailable.
    """
    tries = 1
    while True:
        try:
            async with begin() as tx:
                return await work(tx)
        except Deadlocked:
            if tries == TRIES:
                raise
            tries += 1
