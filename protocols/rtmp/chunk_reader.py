"""Chunks to messages (RTMP 1.0, section 5.3). ``ChunkReader.receive`` is the hottest loop of ingest."""

import struct

from protocols.errors import LimitExceeded, RemoteProtocolError
from protocols.rtmp.chunk import CONTROL_CSID, DEFAULT_CHUNK_SIZE, EXTENDED, LARGEST_CHUNK_SIZE
from protocols.rtmp.events import MediaReceived
from protocols.rtmp.limits import SessionLimits
from protocols.rtmp.message import AGGREGATE, AUDIO, DATA, DATA_AMF3, VIDEO, Control, Message, read_uint32

_HEADER_LENGTHS = (11, 7, 3, 0)
_two_words = struct.Struct(">II").unpack_from
_make = tuple.__new__
_LOOK_AHEAD = 64


class _ChunkStream:
    """What later chunks of one chunk stream take over from earlier ones."""

    __slots__ = ("buffer", "delta", "extended", "follower", "idle_id", "length", "stream_id", "timestamp", "type_id")

    def __init__(self, csid: int) -> None:
        self.follower = bytes((0xC0 | csid,)) if csid < 64 else b""  # the header of a type 3 chunk, where it is one byte
        self.timestamp = 0
        self.delta = 0  # the last timestamp field: what a type 3 chunk adds when it begins a message (section 5.3.1.2.4)
        self.length = 0
        self.type_id = 0
        self.stream_id = 0
        self.extended = False
        self.buffer = bytearray()  # what has arrived of an unfinished message
        self.idle_id = 0  # stream_id, or -1 while a message is unfinished: one comparison instead of two in the hot loop

    def follow(self, message_type: int, field: int) -> None:
        """Move the clock on for a message that begins with a chunk of this type."""
        self.delta = field
        self.timestamp = field if message_type == 0 else (self.timestamp + field) & 0xFFFFFFFF


class ChunkReader:
    """Bytes of one direction in, messages out; obeys Set Chunk Size and Abort by itself.

    ``media_stream`` is the message stream that media is expected on: whole audio and video messages on it take a short way.
    ``only_media`` says, after ``receive``, whether the list holds nothing but these. ``reassembly_limit`` bounds, in bytes,
    what unfinished messages may hold together. Empty audio and video messages say nothing and are dropped. What takes the
    long way is bounded by ``SessionLimits.units``.
    """

    __slots__ = (
        "_chunk_size",
        "_current",
        "_held",
        "_left",
        "_limits",
        "_media_mark",
        "_media_stream",
        "_streams",
        "_tail",
        "only_media",
        "reassembly_limit",
    )

    def __init__(self, limits: SessionLimits) -> None:
        self._limits = limits
        self._chunk_size = DEFAULT_CHUNK_SIZE
        self._streams: dict[int, _ChunkStream] = {}
        self._tail = b""  # a chunk header that has not fully arrived: 18 bytes at most
        self._current: _ChunkStream | None = None  # whose chunk the last read ended in, and the bytes it lacks
        self._left = 0
        self._held = 0
        self.media_stream = None
        self.only_media = True
        self.reassembly_limit = limits.reassembly

    @property
    def media_stream(self) -> int | None:
        return None if self._media_stream < 0 else self._media_stream

    @media_stream.setter
    def media_stream(self, stream_id: int | None) -> None:
        self._media_stream = -2 if stream_id is None else stream_id  # -2 equals no stream's idle_id
        self._media_mark = b"" if stream_id is None else stream_id.to_bytes(4, "little")

    def receive(self, data: bytes) -> list[MediaReceived | Message]:
        """Every message that ``data`` completes. Raises RemoteProtocolError, after which the reader is of no more use."""
        messages: list[MediaReceived | Message] = []
        self.only_media = True
        if self._tail:
            data = self._tail + data
            self._tail = b""
        position = 0 if self._current is None else self._resume(self._current, data, messages)
        size = len(data)
        last = size - 12
        append = messages.append
        find = self._streams.get
        media_stream = self._media_stream
        media_mark = self._media_mark
        chunk_size = self._chunk_size
        units = self._limits.units + size // self._limits.unit
        while position < size:
            # The short way: a whole audio or video message that begins with a chunk of type 0 or 1 and is not interleaved.
            # All else, and whatever is not sure at a glance, goes through _chunk.
            if position <= last:
                first, second = _two_words(data, position)
                stream = find(first >> 24 & 63)
                if stream is not None and stream.idle_id == media_stream and second & 0xFE == 8:
                    field = first & 0xFFFFFF
                    length = second >> 8
                    if first >> 30 == 1:
                        start = position + 8
                        timestamp = (stream.timestamp + field) & 0xFFFFFFFF
                    elif first >> 30 == 0 and data[position + 8 : position + 12] == media_mark:
                        start = position + 12
                        timestamp = field
                    else:
                        start = size  # leaves no room for a body
                        timestamp = 0
                    if length <= chunk_size:
                        end = start + length
                        body = data[start:end] if end <= size else b""
                    else:
                        end = start + length + (length - 1) // chunk_size
                        in_sight = end <= size and length <= chunk_size << 9
                        body = _unchunk(data, start, end, chunk_size, stream.follower) if in_sight else b""
                    if body and field != 0xFFFFFF:
                        type_id = second & 0xFF
                        stream.timestamp = timestamp
                        stream.delta = field
                        stream.length = length
                        stream.type_id = type_id
                        stream.extended = False
                        append(_make(MediaReceived, (type_id, media_stream, timestamp, body)))
                        position = end
                        continue
            units -= 1
            if units < 0:
                raise LimitExceeded(f"{size} bytes of chunks too small")
            position = self._chunk(data, position, messages)
            chunk_size = self._chunk_size
        return messages

    def _resume(self, stream: _ChunkStream, data: bytes, messages: list[MediaReceived | Message]) -> int:
        """Take the payload that the chunk of the last read lacks. Returns the position behind it."""
        taken = data[: self._left]
        stream.buffer += taken
        self._left -= len(taken)
        if not self._left:
            self._current = None
        self._hold(len(taken))
        if len(stream.buffer) == stream.length:
            self._finish(stream, self._release(stream), messages)
        return len(taken)

    def _chunk(self, data: bytes, begin: int, messages: list[MediaReceived | Message]) -> int:
        """Take one chunk of any kind, and what follows of its message. Returns the position behind; a cut header is kept."""
        first = data[begin]
        position = begin + 1
        csid = first & 63
        if csid < 2:
            number = data[position : position + csid + 1]
            position += csid + 1
            csid = 64 + int.from_bytes(number, "little")
        chunk_type = first >> 6
        end = position + _HEADER_LENGTHS[chunk_type]
        if end > len(data):
            return self._keep(data, begin)
        stream = self._streams.get(csid)
        if chunk_type == 3:
            if stream is None:
                raise RemoteProtocolError(f"chunk stream {csid} begins with a chunk of type 3")
            if stream.extended:
                repeated = _repeated_timestamp(stream, data[end : end + 4])
                if repeated is None:
                    return self._keep(data, begin)
                end += repeated
            if stream.idle_id >= 0:
                stream.follow(3, stream.delta)
        else:
            field = int.from_bytes(data[position : position + 3], "big")
            extended = field == EXTENDED
            if extended:
                end += 4
                if end > len(data):
                    return self._keep(data, begin)
                field = int.from_bytes(data[end - 4 : end], "big")
            stream = self._begin(stream, csid, chunk_type)
            stream.extended = extended
            stream.follow(chunk_type, field)
            if chunk_type < 2:
                self._declare(stream, data[position + 3 : position + 7])
            if chunk_type == 0:
                stream.stream_id = int.from_bytes(data[position + 7 : position + 11], "little")
        return self._payload(stream, data, end, messages)

    def _keep(self, data: bytes, begin: int) -> int:
        self._tail = data[begin:]
        return len(data)

    def _begin(self, stream: _ChunkStream | None, csid: int, chunk_type: int) -> _ChunkStream:
        """The chunk stream on which a header of type 0, 1 or 2 stands, if one may stand there."""
        if stream is None:
            # librtmp sends its control messages with type 1 even if they are the first: nothing to take over is needed there.
            if chunk_type != 0 and not (chunk_type == 1 and csid == CONTROL_CSID):
                raise RemoteProtocolError(f"chunk stream {csid} begins with a chunk of type {chunk_type}")
            if len(self._streams) >= self._limits.chunk_streams:
                raise LimitExceeded(f"more than {self._limits.chunk_streams} chunk streams")
            stream = self._streams[csid] = _ChunkStream(csid)
        elif stream.idle_id < 0:
            raise RemoteProtocolError(f"chunk of type {chunk_type} inside a message on chunk stream {csid}")
        return stream

    def _declare(self, stream: _ChunkStream, header: bytes) -> None:
        """Message length and type id from a header of type 0 or 1."""
        length = int.from_bytes(header[:3], "big")
        type_id = header[3]
        limits = self._limits
        if type_id in (AUDIO, VIDEO, AGGREGATE):
            limit = limits.message
        elif type_id in (DATA, DATA_AMF3):
            limit = limits.data
        else:
            limit = limits.command
        if length > limit:
            raise LimitExceeded(f"message of type {type_id} and {length} bytes, {limit} are allowed")
        stream.length = length
        stream.type_id = type_id

    def _payload(self, stream: _ChunkStream, data: bytes, position: int, messages: list[MediaReceived | Message]) -> int:
        """Take a chunk's payload, and those of the type 3 chunks right behind it. Returns the position behind."""
        chunk_size = self._chunk_size
        if stream.idle_id >= 0 and stream.length <= min(chunk_size, len(data) - position):
            stop = position + stream.length
            self._finish(stream, data[position:stop], messages)
            return stop
        missing = stream.length - len(stream.buffer)
        followers = 0
        if missing <= chunk_size:
            stop = position + missing
        elif stream.extended or not stream.follower:
            stop = position + chunk_size
        else:
            # All one-byte headers of the chunks that follow stand chunk_size + 1 apart: look at them in one go, but not so far
            # ahead that looking again after each interleaved chunk would cost more than the chunks do.
            ahead = min((missing - 1) // chunk_size, _LOOK_AHEAD)
            stop = position + min(missing, (ahead + 1) * chunk_size) + ahead
            headers = data[position + chunk_size : stop : chunk_size + 1]
            followers = len(headers) - len(headers.lstrip(stream.follower))
            if followers < len(headers):
                stop = position + (followers + 1) * chunk_size + followers
        piece = bytearray(data[position:stop])
        del piece[chunk_size :: chunk_size + 1]
        if stream.idle_id >= 0 and len(piece) == missing:
            self._finish(stream, bytes(piece), messages)
            return stop
        stream.idle_id = -1
        stream.buffer += piece
        self._hold(len(piece))
        if len(piece) == missing:
            self._finish(stream, self._release(stream), messages)
            return stop
        self._left = min((followers + 1) * chunk_size, missing) - len(piece)
        if self._left:
            self._current = stream
            return len(data)
        return stop

    def _hold(self, count: int) -> None:
        self._held += count
        if self._held > self.reassembly_limit:
            raise LimitExceeded(f"unfinished messages hold more than {self.reassembly_limit} bytes")

    def _release(self, stream: _ChunkStream) -> bytes:
        """The bytes of an unfinished message, which is then none any more."""
        body = bytes(stream.buffer)
        self._held -= len(body)
        stream.buffer.clear()
        return body

    def _finish(self, stream: _ChunkStream, body: bytes, messages: list[MediaReceived | Message]) -> None:
        """A message is whole."""
        stream_id = stream.idle_id = stream.stream_id
        type_id = stream.type_id
        if type_id in (AUDIO, VIDEO):
            if body:
                messages.append(MediaReceived(type_id, stream_id, stream.timestamp, body))
                if stream_id != self._media_stream:
                    self.only_media = False
        elif type_id == Control.SET_CHUNK_SIZE:
            size = read_uint32(body)
            if not 0 < size < 0x80000000:
                raise RemoteProtocolError(f"chunk size {size}")
            self._chunk_size = min(size, LARGEST_CHUNK_SIZE)
        elif type_id == Control.ABORT:
            self._abort(read_uint32(body))
        else:
            self.only_media = False
            messages.append(Message(type_id, stream_id, stream.timestamp, body))

    def _abort(self, csid: int) -> None:
        stream = self._streams.get(csid)
        if stream is not None and stream.idle_id < 0:
            self._release(stream)
            stream.idle_id = stream.stream_id


def _unchunk(data: bytes, start: int, end: int, chunk_size: int, follower: bytes) -> bytes:
    """The body whose chunks lie in ``data[start:end]``; empty if anything but ``follower`` stands between them."""
    if data[start + chunk_size : end : chunk_size + 1].strip(follower):
        return b""
    body = bytearray(data[start:end])
    del body[chunk_size :: chunk_size + 1]
    return bytes(body)


def _repeated_timestamp(stream: _ChunkStream, seen: bytes) -> int | None:
    """The length of the extended timestamp in a chunk of type 3: 4, or 0 in the dialect that leaves it out; None: cannot tell.

    The specification (section 5.3.1.3) repeats the field; some encoders do not, and some repeat the absolute timestamp where
    the field was a delta. Only comparing tells them apart.
    """
    for value in (stream.delta, stream.timestamp):
        expected = value.to_bytes(4, "big")
        if seen == expected:
            return 4
        if expected.startswith(seen):
            return None
    return 0
