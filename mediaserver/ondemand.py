"""Parts that are loaded when somebody first asks for them: an idle server is small, and media goes on meanwhile."""

import asyncio
import gc
import importlib
import sys
from types import ModuleType

#: Seconds after which a thread that loads must let the event loop on. Python's own 5 ms would be felt by packets.
PATIENCE = 0.0005
_USUAL = sys.getswitchinterval()


async def load(name: str) -> ModuleType:
    """The module ``name``, loaded in a thread the first time. Whoever asks keeps what he is given."""
    if name in sys.modules:
        # Perhaps another thread is not done with it: only waiting for that tells.
        return await asyncio.to_thread(importlib.import_module, name)
    sys.setswitchinterval(PATIENCE)
    try:
        module = await asyncio.to_thread(importlib.import_module, name)
    finally:
        sys.setswitchinterval(_USUAL)
    gc.freeze()  # it stays as long as the process does: no collection, which would stop everything, need look at it
    return module
