"""Status and health as the Panel document has them."""

import enum

from control.schema import Given, Timestamp


class Health(enum.Enum):
    """``not_configured``: the server does without it, and that is no fault. ``unknown``: it is being found out."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    NOT_CONFIGURED = "not_configured"
    UNKNOWN = "unknown"


class SystemUsage(Given):
    """The machine, in percent: ``cpu_usage`` over the last seconds."""

    cpu_usage: float
    memory_usage: float
    disk_usage: float
    load_average: list[float]


class ServiceStates(Given):
    """What the server stands on, and its RTMP ports (``running`` or ``stopped``)."""

    database: Health
    redis: Health
    nginx: Health
    rtmp_server: str


class Performance(Given):
    """What it does now; ``total_bandwidth`` in kbit/s: what comes in and goes out, counted."""

    active_streams: int
    total_bandwidth: int
    concurrent_viewers: int


class SystemStatus(Given):
    """The machine, what the server stands on, and what it does now. ``uptime`` in seconds."""

    status: Health
    version: str
    uptime: int
    system: SystemUsage
    services: ServiceStates
    performance: Performance


class ProbeResult(Given):
    """One service that was asked, the database by a write; ``response_time`` in ms."""

    status: Health
    response_time: int
    last_check: Timestamp


class StorageResult(Given):
    """The disk that the server's data are on."""

    status: Health
    free_space: str
    total_space: str


class NetworkResult(Given):
    """The network: unhealthy where no interface is up by which the server could be reached. ``bandwidth_available`` is what the
    interfaces say of themselves, ``unknown`` where they do not; ``bandwidth_used`` what they move, loopback left out."""

    status: Health
    bandwidth_available: str
    bandwidth_used: str


class PortResult(Given):
    """The RTMP ports."""

    status: Health
    port: int


class EncoderResult(Given):
    """What can be encoded with."""

    status: Health
    encoders: list[str]


class Checks(Given):
    """Everything that was looked at."""

    database: ProbeResult
    redis: ProbeResult
    nginx: ProbeResult
    storage: StorageResult
    network: NetworkResult
    rtmp_server: PortResult
    encoders: EncoderResult


class SystemHealth(Given):
    """``unhealthy`` if any check is."""

    status: Health
    checks: Checks
