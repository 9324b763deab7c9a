"""An audience that is made of real players, and what its members know of themselves."""

import json
import sqlite3
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import m3u8  # type: ignore[import-untyped]

from tests.peers import Server, wait_until

PASSWORD = "correct horse battery"
PATIENCE = 30.0
#: Seconds between two looks at a playlist.
PACE = 1.0


class Panel:
    """The administrator of a server, over its API."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.token = ""
        self.token = self.ask("POST", "/api/auth/login", {"username": "admin", "password": PASSWORD})["access_token"]

    def ask(self, method: str, path: str, body: object = None) -> Any:
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self.token}"} if self.token else {})
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.server.url(path), data, headers, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return json.load(response)

    def new_stream(self, name: str, key: str) -> int:
        url = f"rtmp://localhost:{self.server.rtmp_port}/live/{key}"
        return int(self.ask("POST", "/api/streams", {"name": name, "input_url": url})["id"])

    def viewers(self, number: int) -> int:
        return int(self.ask("GET", f"/api/streams/{number}/status")["current_viewers"])

    def sessions(self) -> list[dict[str, Any]]:
        """The rows, as they are on the disk."""
        with closing(sqlite3.connect(Path(self.server.folder) / "data" / "mediaserver.db", timeout=PATIENCE)) as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute("SELECT * FROM viewer_sessions ORDER BY started")]

    def wait_sessions(self, count: int, over: Callable[[Mapping[str, Any]], bool] = lambda _: True) -> list[dict[str, Any]]:
        """Wait until so many are written down, each of them ``over``."""

        def there() -> list[dict[str, Any]]:
            found = self.sessions()
            return found if len(found) >= count and all(map(over, found)) else []

        return wait_until(there, f"{count} sessions, not {self.sessions()}", PATIENCE)


def ended(session: Mapping[str, Any]) -> bool:
    return bool(session["ended"] < float("inf"))


class HlsClient:
    """Polls playlists and fetches segments like a simple player, a connection for each request. ``base`` may be a CDN's."""

    def __init__(self, base: str, name: str, agent: str, session: str = "") -> None:
        self.index = f"{base}/live/{name}/index.m3u8" + (f"?session={session}" if session else "")
        self.agent = agent
        self.asked: list[str] = []
        self.segments: set[str] = set()
        self.times: list[float] = []
        self.error: Exception | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._play, name=self.index, daemon=True)

    def __enter__(self) -> "HlsClient":
        self.start()
        return self

    def __exit__(self, *exc_details: object) -> None:
        self.stop()

    def start(self) -> None:
        self._thread.start()

    def stop(self, *, failed: bool = False) -> None:
        """``failed``: its server has left it alone."""
        self._stopped.set()
        self._thread.join(PATIENCE)
        assert failed or self.error is None, self.error

    def _get(self, url: str) -> str:
        self.asked.append(url)
        request = urllib.request.Request(url, headers={"User-Agent": self.agent})
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return str(response.read().decode("latin-1"))

    def _play(self) -> None:
        try:
            listed = urljoin(self.index, m3u8.loads(self._get(self.index)).playlists[0].uri)
            while not self._stopped.is_set():
                playlist = m3u8.loads(self._get(listed))
                self.times.append(time.time())
                for segment in playlist.segments:
                    if segment.uri and not segment.gap_tag and segment.uri not in self.segments:
                        self._get(urljoin(listed, segment.uri))
                        self.segments.add(segment.uri)
                self._stopped.wait(PACE)
        except Exception as error:  # noqa: BLE001 - told to whoever stops it
            self.error = error

    @property
    def seconds(self) -> float:
        """From its first playlist to its last."""
        return self.times[-1] - self.times[0]
