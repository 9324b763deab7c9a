"""Parts that are loaded when somebody first asks for them: what lies idle in memory is small, and media goes on meanwhile."""

import asyncio
import gc
import importlib
import sys
from types import ModuleType


async def load(name: str) -> ModuleType:
    """The module ``name``. It is loaded in a thread, and Python changes threads every few milliseconds: packets go on. Whoever
    asks keeps what he was given."""
    new = name not in sys.modules
    module = await asyncio.to_thread(importlib.import_module, name)
    if new:
        gc.freeze()  # it stays as long as the process does: no collection, which would stop everything, need look at it
    return module
