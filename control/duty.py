"""What the control plane does whether anybody asks or not, from before the engine starts until after it has stopped."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from control.analytics.attendance import Attendance
from control.live.pulse import Pulse
from control.live.service import LiveUpdates
from control.plane import ControlPlane
from control.retention import Sweeper, kept
from control.services import Resident
from control.statistics.service import Sampler
from control.streams.conductor import Conductor
from control.streams.onair import OnAir
from control.watch import Watch
from control.webhooks.service import Webhooks

if TYPE_CHECKING:
    from mediaserver.config import Config
    from mediaserver.engine import Engine


#: Seconds that the last viewers and the last minute may take to be written down when the server stops.
LAST_WORDS = 3.0


@contextlib.asynccontextmanager
async def on_duty(engine: "Engine", config: "Config", control: ControlPlane) -> AsyncIterator[Resident]:
    """Listen to ``engine``, until after its last event: webhooks, live updates, statistics, viewers. And remove what is old."""
    on_air = OnAir(engine)
    conductor = Conductor(engine, control.db, control.vault, on_air, control.grants)
    webhooks = Webhooks(control.db, control.vault, config.webhooks, engine.resolve, control.clock)
    live, pulse = LiveUpdates(control.db, control.clock, conductor.status), Pulse(on_air)
    attendance = Attendance(control.db, control.vault, control.atlas, control.clock, engine.seen)
    watch = Watch(control.db)
    sampler, sweeper = Sampler(control.db, on_air), Sweeper(control.db, kept(config), control.clock)
    for listener in (conductor.on_event, webhooks.announcer.on_event, live.on_event, attendance.on_event, sampler.on_event):
        control.feed.tell(listener)
    pulse.tell(webhooks.announcer.on_watched)
    pulse.tell(live.on_watched)
    loop = asyncio.get_running_loop()
    async with webhooks.running():
        parts = (pulse, live, sampler, attendance, sweeper, watch)
        tasks = [loop.create_task(part.run()) for part in parts]
        try:
            yield Resident(
                config=config,
                engine=engine,
                control=control,
                on_air=on_air,
                conductor=conductor,
                webhooks=webhooks,
                live=live,
                attendance=attendance,
                watch=watch,
            )
        finally:
            try:
                await asyncio.gather(sampler.close(LAST_WORDS), attendance.close(LAST_WORDS))
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
