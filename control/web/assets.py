"""The files that pages load: found once at start, served under a path that changes when any of them does."""

import asyncio
import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).parent / "static"
_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".md": "text/plain; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file. ``etag`` is its SHA-256, cut short; weak, since compressed and plain bodies share it."""

    file: Path
    content_type: str
    etag: str


class Assets:
    """All assets by their path below ``static/``. A path that is not in the table does not exist, whatever it spells."""

    def __init__(self, folder: Path = _FOLDER) -> None:
        digest = hashlib.sha256()
        self._assets: dict[str, Asset] = {}
        self._gzipped: dict[str, bytes] = {}
        for file in sorted(path for path in folder.rglob("*") if path.suffix in _TYPES):
            name, own = file.relative_to(folder).as_posix(), _sha256(file)
            digest.update(name.encode() + own.digest())
            self._assets[name] = Asset(file, _TYPES[file.suffix], f'W/"{own.hexdigest()[:20]}"')
        self.version = digest.hexdigest()[:12]

    def url(self, name: str) -> str:
        """The address of ``name`` that may be cached for ever."""
        return f"/static/web/{self.version}/{name}"

    def find(self, name: str) -> Asset | None:
        return self._assets.get(name)

    async def read(self, name: str, gzipped: bool) -> bytes:
        """The bytes of a known asset. Compressed ones are made on the first request, off the loop, and kept."""
        asset = self._assets[name]
        if not gzipped:
            return await asyncio.to_thread(asset.file.read_bytes)
        if name not in self._gzipped:
            self._gzipped[name] = await asyncio.to_thread(lambda: gzip.compress(asset.file.read_bytes(), 6, mtime=0))
        return self._gzipped[name]


def _sha256(file: Path) -> "hashlib._Hash":
    """Read in pieces: what is allocated whole leaves a hole in the heap, which the process then keeps."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256")
