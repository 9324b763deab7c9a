"""One load process: pinned to the load's core, told by a pipe when to measure and when to stop."""

import contextlib
import multiprocessing
import os
import resource
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Final, Generic, Protocol, TypeVar

#: after the window's end: time for its last frames to arrive
_ARRIVAL_NS: Final = 400_000_000
_DESCRIPTORS: Final = 16384

Spec = TypeVar("Spec")
Report = TypeVar("Report")


class LoadError(Exception):
    """The load could not be put on, or not measured: the figures of this run would mean nothing."""


@dataclass(frozen=True, slots=True)
class Window:
    """The measured time: two moments on the monotonic clock, ns."""

    start: int
    end: int


class Gauge(Protocol):
    """What a load process counts."""

    def begin(self, window: Window) -> None:
        """The window starts now."""

    def end(self) -> None:
        """The window ends now."""

    def report(self) -> object:
        """What was counted, once the window's last frames had time to arrive."""


class Control:
    """The child's end of the pipe. ``tick`` it often; it calls the gauge at the window's edges."""

    def __init__(self, pipe: Connection) -> None:
        self.stopped = False
        self._pipe = pipe
        self._gauge: Gauge | None = None
        self._window: Window | None = None
        self._next = 0
        self._steps: list[tuple[int, Callable[[], None]]] = []

    def fileno(self) -> int:
        return self._pipe.fileno()

    def ready(self, gauge: Gauge) -> None:
        """Tell the parent that the load is on."""
        self._gauge = gauge
        self._pipe.send(None)

    def read(self) -> None:
        """The pipe is readable: a window, or (None, or the parent gone) the end."""
        try:
            window = self._pipe.recv()
        except EOFError:
            window = None
        gauge = self._gauge
        if window is None or gauge is None:
            self.stopped = True
            return
        self._steps = [
            (window.start, lambda: gauge.begin(window)),
            (window.end, gauge.end),
            (window.end + _ARRIVAL_NS, lambda: self._pipe.send(gauge.report())),
        ]

    def tick(self, now: int) -> None:
        while self._steps and now >= self._steps[0][0]:
            self._steps.pop(0)[1]()


def _child(work: "Callable[[Spec, Control], None]", spec: Spec, pipe: Connection, cpu: int | None) -> None:
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})
    raise_descriptor_limit()
    try:
        work(spec, Control(pipe))
    except (LoadError, OSError) as error:
        pipe.send(LoadError(f"{work.__name__}: {error}"))


def raise_descriptor_limit() -> int:
    """Ask for as many descriptors as thousands of connections need; answers what was got."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(soft, _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard))
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


class LoadProcess(Generic[Spec, Report]):
    """The parent's side: ``with LoadProcess(play, spec, cpu) as players: players.wait_ready() …``."""

    def __init__(self, work: Callable[[Spec, Control], None], spec: Spec, cpu: int | None) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, child_end = context.Pipe()
        self._process = context.Process(target=_child, args=(work, spec, child_end, cpu), daemon=True)
        self._process.start()
        child_end.close()

    def __enter__(self) -> "LoadProcess[Spec, Report]":
        return self

    def __exit__(self, *exc: object) -> None:
        with contextlib.suppress(OSError):  # it went before us: nothing is left to stop
            self._pipe.send(None)
        self._process.join(3)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    def wait_ready(self, timeout: float = 60.0) -> None:
        """Until the load is on. LoadError when it cannot be put on."""
        self._receive(timeout, "was not ready")

    def measure(self, window: Window) -> None:
        with contextlib.suppress(BrokenPipeError):  # it went before us: asked for its report, it says why
            self._pipe.send(window)

    def report(self, timeout: float = 60.0) -> Report:
        answer: Report = self._receive(timeout, "did not report")  # type: ignore[assignment]
        return answer

    def _receive(self, timeout: float, what: str) -> object:
        if not self._pipe.poll(timeout):
            raise LoadError(f"a load process {what} within {timeout:.0f} s")
        try:
            answer = self._pipe.recv()
        except EOFError:
            raise LoadError("a load process ended early") from None
        if isinstance(answer, LoadError):
            raise answer
        return answer
