"""Arrays that stay in their file until they are sliced, and the memory that decoded pieces may take."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from brushwork.image import Sliceable

CACHE_BYTES = 256 << 20

Key = tuple[int | slice, ...]

# Sources whose attribute `by_plane` is true decode whole planes, however small the slice. Those whose attribute `by_pixel` is true
# read no more than the pixels of a slice with steps.


class PieceCache:
    """Decoded pieces of files, the latest used first; owns them because many reads in many threads want the same piece.

    A piece that two threads ask for is made once. The latest piece is kept even where it is larger than the limit.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        self._pieces: OrderedDict[Hashable, Future[NDArray]] = OrderedDict()
        self._bytes = 0

    def get(self, key: Hashable, make: Callable[[], NDArray]) -> NDArray:
        with self._lock:
            piece = self._pieces.get(key)
            if piece is not None:
                self._pieces.move_to_end(key)
            else:
                mine: Future[NDArray] = Future()
                self._pieces[key] = mine
        return piece.result() if piece is not None else self._made(key, mine, make)

    def _made(self, key: Hashable, piece: "Future[NDArray]", make: Callable[[], NDArray]) -> NDArray:
        try:
            array = make()
        except BaseException as error:
            with self._lock:
                self._pieces.pop(key, None)
            piece.set_exception(error)
            raise
        piece.set_result(array)
        with self._lock:
            self._bytes += array.nbytes
            self._shrink()
        return array

    def _shrink(self) -> None:
        for key in list(self._pieces)[:-1]:
            if self._bytes <= self.max_bytes:
                return
            if self._pieces[key].done():
                self._bytes -= self._pieces.pop(key).result().nbytes


PIECES = PieceCache(CACHE_BYTES)


class Mapped:
    """An uncompressed array inside a file. The file is mapped for each read only, so no memory stays taken."""

    by_pixel = True

    def __init__(self, path: Path, dtype: DTypeLike, shape: tuple[int, ...], offset: int, order: Any = "C") -> None:
        self.path, self.dtype, self.shape, self.offset, self.order = path, np.dtype(dtype), shape, offset, order

    def __getitem__(self, key: Any) -> NDArray:
        mapped = np.memmap(self.path, self.dtype, "r", self.offset, self.shape, self.order)
        return np.array(mapped[key])


class Whole:
    """An array whose format can only be decoded as a whole; that happens when it is first sliced."""

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike, load: Callable[[], NDArray]) -> None:
        self.shape, self.dtype, self._load = shape, np.dtype(dtype), load

    def __getitem__(self, key: Any) -> NDArray:
        return PIECES.get(self, self._load)[key]


class Squeezed:
    """An array without one of its axes, which has length 1."""

    def __init__(self, source: Sliceable, axis: int) -> None:
        self._source, self._axis = source, axis
        self.shape = tuple(source.shape[:axis]) + tuple(source.shape[axis + 1 :])
        self.dtype = source.dtype
        self.by_plane = getattr(source, "by_plane", False)
        self.by_pixel = getattr(source, "by_pixel", False)

    def __getitem__(self, key: Any) -> Any:
        key = full_key(key, len(self.shape))
        return self._source[(*key[: self._axis], 0, *key[self._axis :])]


class Trimmed:
    """The first `n` along one axis: colours without their transparency."""

    def __init__(self, source: Sliceable, axis: int, n: int) -> None:
        self._source, self._axis = source, axis
        self.shape = (*source.shape[:axis], n, *source.shape[axis + 1 :])
        self.dtype = source.dtype
        self.by_plane = getattr(source, "by_plane", False)
        self.by_pixel = getattr(source, "by_pixel", False)

    def __getitem__(self, key: Any) -> Any:
        wanted = list(full_key(key, len(self.shape)))
        at = wanted[self._axis]
        if isinstance(at, slice):
            wanted[self._axis] = slice(*at.indices(self.shape[self._axis]))
        return self._source[tuple(wanted)]


class Stacked:
    """Arrays of one shape as one array with an axis more, the first; each is opened when it is first sliced."""

    by_plane = True

    def __init__(self, parts: tuple[Callable[[], Sliceable], ...], shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self._parts = parts
        self.shape, self.dtype = (len(parts), *shape), np.dtype(dtype)

    def __getitem__(self, key: Any) -> NDArray:
        first, *rest = full_key(key, len(self.shape))
        inner = tuple(rest)
        if not isinstance(first, slice):
            return np.asarray(self._parts[first]()[inner])
        pieces = [np.asarray(part()[inner]) for part in self._parts[first]]
        return np.stack(pieces)


class Joined:
    """The arrays of a stack (its first axis runs over them) one behind the other along one of their own axes."""

    def __init__(self, stack: Sliceable, axis: int) -> None:
        self._stack, self._axis = stack, axis
        n, *shape = stack.shape
        self._length = shape[axis]
        self.shape, self.dtype = (*shape[:axis], n * shape[axis], *shape[axis + 1 :]), stack.dtype
        self.by_plane = getattr(stack, "by_plane", False)

    def __getitem__(self, key: Any) -> NDArray:
        key = full_key(key, len(self.shape))
        before, at, after = key[: self._axis], range(self.shape[self._axis])[key[self._axis]], key[self._axis + 1 :]
        if isinstance(at, int):
            return np.asarray(self._stack[(at // self._length, *before, at % self._length, *after)])
        pieces = [self._piece(before, k, at, after) for k in sorted({i // self._length for i in at})]
        axis = sum(isinstance(k, slice) for k in before)
        return np.concatenate(pieces, axis) if pieces else np.asarray(self._stack[(0, *before, slice(0), *after)])

    def _piece(self, before: Key, number: int, at: range, after: Key) -> NDArray:
        """What one of the arrays has of the places `at`."""
        mine = [i % self._length for i in at if i // self._length == number]
        return np.asarray(self._stack[(number, *before, slice(mine[0], mine[-1] + 1, at.step), *after)])


def full_key(key: Any, ndim: int) -> Key:
    """`key` with one entry per axis."""
    key = key if isinstance(key, tuple) else (key,)
    if Ellipsis in key:
        at = key.index(Ellipsis)
        key = key[:at] + (slice(None),) * (ndim - len(key) + 1) + key[at + 1 :]
    return key + (slice(None),) * (ndim - len(key))
