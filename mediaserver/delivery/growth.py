"""A segment on its way to one player while it is being made."""

from mediaserver.packaging.answer import Growing


class Growth:
    """What of a Growing answer was sent. ``chunked``: in chunks (RFC 9112, 7.1), else to the end of the connection."""

    __slots__ = ("_chunked", "_sent", "growing")

    def __init__(self, growing: Growing, *, chunked: bool) -> None:
        self.growing = growing
        self._chunked = chunked
        self._sent = 0

    def read(self) -> tuple[list[bytes], bool]:
        """What has grown since, ready to be written, and whether that is the end."""
        data, complete = self.growing.read(self._sent)
        self._sent += len(data)
        pieces: list[bytes] = []
        if data:
            pieces = [b"%x\r\n" % len(data), data, b"\r\n"] if self._chunked else [data]
        if complete and self._chunked:
            pieces.append(b"0\r\n\r\n")
        return pieces, complete
