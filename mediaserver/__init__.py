"""The engine: packets on their way from a publisher to every player. asyncio and PyAV; knows nothing of the control plane."""
