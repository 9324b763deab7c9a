"""The server's secret, from which all others are derived."""

import contextlib
import os
import secrets
from pathlib import Path

from mediaserver.config_values import LEAST_SIGNING_SECRET


def server_secret(configured: str, data_dir: Path) -> bytes:
    """The secret from which all others are derived: the configured one, or one that is made and kept in ``data_dir``.

    Raises OSError, and ValueError for one that is too short or broken.
    """
    if configured:
        if len(configured.encode()) < LEAST_SIGNING_SECRET:
            raise ValueError(f"auth.jwt_secret: at least {LEAST_SIGNING_SECRET} bytes are needed")
        return configured.encode()
    file = data_dir / "secret.key"
    if not file.exists():
        data_dir.mkdir(parents=True, exist_ok=True)
        _make_secret(file)
    try:
        secret = bytes.fromhex(file.read_text("ascii"))
    except ValueError:
        secret = b""
    if len(secret) < LEAST_SIGNING_SECRET:
        # A new one in its place would end every login and lose what was encrypted under the old one: not without being asked.
        raise ValueError(
            f"{file} is broken: restore it, or remove it to have a new one made (then all must log in again, and what was"
            " encrypted under it is lost: the inputs and stream keys of streams, the keys of destinations, and webhooks"
            " must be set anew)"
        )
    return secret


def _make_secret(file: Path) -> None:
    """Write a new secret whole or not at all, and not over another process's."""
    partial = file.with_name(f"{file.name}.{secrets.token_hex(8)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as out:
            out.write(secrets.token_hex(LEAST_SIGNING_SECRET))
            out.flush()
            os.fsync(out.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(partial, file)
    finally:
        partial.unlink()
