"""Texts of HDF5 files, looked at as bytes before the library reads them.

The library makes room for as much as a text says that it has, and follows a heap of texts without end where an entry has no length.
"""

import math
import mmap
import struct
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

HEAP, RESERVED = b"GCOL\x01", 3  # begins a heap of texts; bytes without a meaning, then its size
MARKS = (
    "axistags", "blockSlice", "isEmpty", "axis_units", "channel_names", "element_size_um", "DIMENSION_LABELS",
)  # attributes that are read; they may be texts  # fmt: skip
VARIABLE_LENGTH = 9  # HDF5's class of types whose values lie in a heap
MOST_TEXTS = 4096  # in one attribute
REFERENCE = 16  # bytes that stand for a text in a heap: length, place of the heap, number
WRAPS = 1 << 64  # where the library's lengths begin again at 0


def are_sound(path: Path) -> bool:
    """Whether the heaps of texts come to an end, and no texts of attributes say that they are larger than the file.

    path : of a file that is not empty. Takes some seconds per GB; what was found is remembered.
    """
    status = path.stat()
    return _remembered(path.absolute(), status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=1024)
def _remembered(path: Path, changed: int, size: int) -> bool:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return all(_is_whole(content, at) for at in _places(content, HEAP)) and all(
            length <= size for length in _lengths(content)
        )


def _is_whole(content: mmap.mmap, at: int) -> bool:
    """Whether the entries of a heap follow each other to its end: (number, ..., length), then the text; number 0 is free room.

    Where the bytes without a meaning are not 0 it may be no heap at all: then it is enough that there is an end.
    """
    is_plain = not any(content[at + len(HEAP) : at + len(HEAP) + RESERVED])
    end = at + int.from_bytes(content[at + 8 : at + 16], "little")
    at += 16
    while at + 16 <= min(end, len(content)):
        number, length = struct.unpack("<H6xQ", content[at : at + 16])
        step = (16 + -(-length // 8) * 8) % WRAPS if number else length
        if step < 16:  # the library would never come to an end
            return False
        at += step
    return not is_plain or at <= end <= len(content)


def _places(content: mmap.mmap, wanted: bytes) -> Iterator[int]:
    at = content.find(wanted)
    while at >= 0:
        yield at
        at = content.find(wanted, at + len(wanted))


def _lengths(content: mmap.mmap) -> Iterator[int]:
    """What the texts of each attribute in MARKS claim together, in bytes: HDF5 tells it behind the attribute's name.

    An attribute is told of in three versions. One that keeps its type elsewhere may hold texts of any length.
    """
    for name in MARKS:
        encoded = name.encode() + b"\0"
        for at in _places(content, encoded):
            for version, before, unit in ((1, 8, 8), (2, 8, 1), (3, 9, 1)):
                if at < before or content[at - before] != version:
                    continue
                is_shared = version > 1 and content[at - before + 1] != 0
                n_name, n_type, n_space = struct.unpack("<3H", content[at - before + 2 : at - before + 8])
                if n_name != len(encoded):
                    continue
                kind = at + -(-n_name // unit) * unit
                space = kind + -(-n_type // unit) * unit
                values = space + -(-n_space // unit) * unit
                n = _count(content[space:values])
                if is_shared or n > MOST_TEXTS:
                    yield WRAPS
                elif values < len(content) and content[kind] & 15 == VARIABLE_LENGTH:
                    told = content[values : values + REFERENCE * n]
                    yield sum(int.from_bytes(told[i : i + 4], "little") for i in range(0, len(told), REFERENCE))


def _count(space: bytes) -> int:
    """How many values a dataspace has: (version, axes, ...), then lengths of 8 bytes, from byte 8 or, in version 2, from 4."""
    first = 8 if space[:1] == b"\x01" else 4
    n_axes = space[1] if len(space) > 1 else 0
    return math.prod(int.from_bytes(space[first + 8 * i :][:8], "little") for i in range(n_axes))
