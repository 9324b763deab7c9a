"""A receiver for each test, and a Courier without a panel."""

from collections.abc import AsyncIterator

import pytest

from tests.control.webhooks.receiver import Receiver


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver().running() as running:
        yield running
