"""From a sound input to a hostile one: a few small changes of the kinds that parsers fall over."""

import random

_NUMBERS = (
    0,
    1,
    2,
    3,
    7,
    8,
    16,
    32,
    64,
    127,
    128,
    255,
    256,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x10000,
    0xFFFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
)
LARGEST = 8192


def mutate(rng: random.Random, data: bytes, changes: int = 3) -> bytes:
    """``data`` with up to ``changes`` changes, at times none."""
    buffer = bytearray(data)
    for _ in range(rng.randint(0, changes)):
        rng.choice(_CHANGES)(rng, buffer)
    return bytes(buffer[:LARGEST])


def pieces(rng: random.Random, data: bytes) -> list[bytes]:
    """``data`` as a socket might hand it over: whole, in a few pieces, and seldom byte by byte."""
    if rng.random() < 0.02:
        return [data[at : at + 1] for at in range(len(data))]
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randint(0, 3)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def _flip(rng: random.Random, buffer: bytearray) -> None:
    if buffer:
        buffer[rng.randrange(len(buffer))] ^= 1 << rng.randrange(8)


def _replace(rng: random.Random, buffer: bytearray) -> None:
    if buffer:
        buffer[rng.randrange(len(buffer))] = rng.randrange(256)


def _number(rng: random.Random, buffer: bytearray) -> None:
    width = rng.choice((1, 2, 3, 4, 8))
    at = rng.randrange(len(buffer) + 1)
    buffer[at : at + width] = (rng.choice(_NUMBERS) & ((1 << 8 * width) - 1)).to_bytes(width)


def _insert(rng: random.Random, buffer: bytearray) -> None:
    at = rng.randrange(len(buffer) + 1)
    buffer[at:at] = rng.randbytes(rng.randint(1, 16))


def _remove(rng: random.Random, buffer: bytearray) -> None:
    at = rng.randrange(len(buffer) + 1)
    del buffer[at : at + rng.randint(1, 16)]


def _truncate(rng: random.Random, buffer: bytearray) -> None:
    del buffer[rng.randrange(len(buffer) + 1) :]


def _repeat(rng: random.Random, buffer: bytearray) -> None:
    at = rng.randrange(len(buffer) + 1)
    piece = buffer[at : at + rng.randint(1, 32)]
    buffer[at:at] = piece * rng.choice((1, 2, 8, 100))


def _move(rng: random.Random, buffer: bytearray) -> None:
    at = rng.randrange(len(buffer) + 1)
    piece = buffer[at : at + rng.randint(1, 32)]
    del buffer[at : at + len(piece)]
    to = rng.randrange(len(buffer) + 1)
    buffer[to:to] = piece


_CHANGES = (_flip, _flip, _replace, _number, _number, _insert, _remove, _truncate, _repeat, _move)
