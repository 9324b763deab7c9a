"""The composition root: the only place where protocols, engine and control plane meet."""

import asyncio
import contextlib
import gc
import signal
from collections.abc import AsyncIterator, Callable, Iterator

from control.bridge import LoggingSink
from control.db import DatabaseUnavailable
from control.duty import on_duty
from control.frame import explain
from control.ondemand import FRONT
from control.plane import ControlPlane, open_control
from control.services import Resident
from control.system.porter import Porter
from control.system.service import LiveService
from mediaserver.cli import DEMO_NAME, main
from mediaserver.config import Config
from mediaserver.delivery.late_lane import LateLane, MakeLane
from mediaserver.engine import Engine
from mediaserver.errors import CannotServe
from mediaserver.ondemand import load
from mediaserver.preflight import reachable

#: Seconds that players may take to get what is on its way when the server stops.
DRAIN = 5.0


async def serve(config: Config, *, demo: bool = False, ready: Callable[[str], None] | None = None) -> None:
    """Serve until one of ``farewells``, then drain. ``ready`` is called once the ports are open, with the
    administrator's password if one was made and nobody has logged in with it so far.

    ``demo`` publishes colour bars under the name ``demo``. Raises OSError when a port is taken.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in farewells():
        loop.add_signal_handler(number, stopping.set)
    async with contextlib.AsyncExitStack() as stack:
        try:
            control = await stack.enter_async_context(open_control(config))
        except (DatabaseUnavailable, ValueError) as error:
            raise CannotServe(str(error)) from error
        await _serve(config, control, stopping, demo=demo, ready=ready)


def farewells() -> Iterator[signal.Signals]:
    """The signals that end the server. That of a closed terminal does, unless it was started (``nohup``) to outlive one."""
    yield signal.SIGINT
    yield signal.SIGTERM
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        yield signal.SIGHUP


async def _serve(
    config: Config, control: ControlPlane, stopping: asyncio.Event, *, demo: bool, ready: Callable[[str], None] | None
) -> None:
    control.feed.tell(LoggingSink().emit)
    engine = Engine(config, control.authorizer, control.feed)
    async with on_duty(engine, config, control) as resident, _front(engine, resident) as front:
        try:
            await engine.start(front)
            if ready is not None:
                ready(control.new_password)  # at once: /readyz says so, too
            await resident.conductor.resume()
            _settle()
            async with contextlib.AsyncExitStack() as stack:
                if demo:
                    from mediaserver.ingest.colorbars import colorbars  # noqa: PLC0415 - only the demo needs it

                    rtmp = config.rtmp
                    address = f"rtmp://{reachable(rtmp.host)}:{rtmp.port}/{rtmp.app}/{DEMO_NAME}"
                    await stack.enter_async_context(colorbars(address))
                await stopping.wait()
        finally:
            await engine.stop(DRAIN)


@contextlib.asynccontextmanager
async def _front(engine: Engine, resident: Resident) -> AsyncIterator[MakeLane]:
    """What answers connections that want no media: not there until one does."""
    config = resident.config
    async with contextlib.AsyncExitStack() as opened:

        async def open_front() -> MakeLane:
            module = await load(FRONT)
            runner = await asyncio.to_thread(module.build, engine, config, resident)
            opened.push_async_callback(runner.cleanup)
            await runner.setup()
            lane: MakeLane = module.lane(runner, engine.web)
            return lane

        engine.web.explain = explain
        live = LiveService(engine, obstacle=lambda: resident.watch.obstacle)
        yield LateLane(open_front, engine.spawn, Porter(live).answer)


def _settle() -> None:
    """What exists now lives as long as the process: no collection need look at it again. And packets die by reference count,
    so the cycle collector may sleep longer than its default of 700 allocations; not so long that a look at what a crowd has
    brought holds up a picture (2 000 objects: 0.4 ms), nor often at what has proved to last."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(2_000, 500, 50)


def run() -> None:
    """What the program ``mediaserver`` and ``python -m mediaserver`` run."""
    main(serve)


if __name__ == "__main__":
    run()
