"""What several end-to-end tests need beside the fixtures of all tests."""

import pytest

from tests.mediaserver.running import self_signed


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A certificate for this machine that it signed itself, and its key."""
    return self_signed(tmp_path_factory.mktemp("certificate"))
