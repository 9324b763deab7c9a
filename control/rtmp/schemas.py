"""The RTMP server as the Panel document has it."""

from typing import Annotated

from pydantic import ConfigDict, Field

from control.schema import Given, Taken, Timestamp


class RtmpStream(Given):
    """One publisher. ``stream_key`` is masked unless the asker owns the stream; ``bitrate`` in kbit/s."""

    stream_key: str
    client_ip: str
    connected_at: Timestamp
    bitrate: int


class RtmpStatus(Given):
    """The server now. ``uptime`` in seconds."""

    running: bool
    port: int
    active_streams: int
    total_connections: int
    uptime: int
    version: str
    streams: list[RtmpStream]


class RtmpStarted(Given):
    """That it listens."""

    status: str
    message: str
    port: int
    url: str


class RtmpStopped(Given):
    """That it listens no more."""

    status: str
    message: str


class OnPublish(Taken):
    """What nginx-rtmp posts to ``on_publish``; what else it sends with it is of no interest."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: Annotated[str, Field(max_length=4096)]
    addr: Annotated[str, Field(max_length=256)] = ""
    app: Annotated[str, Field(max_length=256)] = ""
    secret: Annotated[str, Field(max_length=256)] = ""
