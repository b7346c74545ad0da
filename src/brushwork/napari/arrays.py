"""Arrays that napari slices like NumPy's, and that hold almost nothing: an image's channel, strokes, and predicted tiles.

Their axes are ([t,] *spatial): time comes first where the image has it.
"""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brushwork.blocks import Region
from brushwork.image import ArrayImage

STROKE_CHUNK = {2: (64, 64), 3: (8, 64, 64)}
SMALLEST_LEVEL = 512  # pixels; coarser levels are added until y and x fit


def display_shape(image: Any) -> tuple[int, ...]:
    """([t,] *spatial)."""
    return ((image.n_frames,) if image.n_frames > 1 else ()) + tuple(image.shape)


def _settled(key: Any, shape: tuple[int, ...]) -> tuple[tuple[range, ...], tuple[int, ...]]:
    """(the positions that a basic key asks for along each axis, axes that integers drop)."""
    key = key if isinstance(key, tuple) else (key,)
    if Ellipsis in key:
        i = key.index(Ellipsis)
        key = (*key[:i], *(slice(None),) * (len(shape) - len(key) + 1), *key[i + 1 :])
    key = (*key, *(slice(None),) * (len(shape) - len(key)))
    asked, dropped = [], []
    for axis, (k, n) in enumerate(zip(key, shape)):
        if isinstance(k, slice):
            asked.append(range(n)[k])
        else:
            at = int(k) + (n if int(k) < 0 else 0)
            if not 0 <= at < n:
                raise IndexError(f"{k} is outside of axis {axis} with {n} pixels")
            asked.append(range(at, at + 1))
            dropped.append(axis)
    return tuple(asked), tuple(dropped)


class _Array:
    """What napari asks of an array."""

    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    def __getitem__(self, key: Any) -> NDArray[Any]:
        asked, dropped = _settled(key, self.shape)
        if not all(len(a) for a in asked):
            found = np.zeros([len(a) for a in asked], self.dtype)
        else:
            found = self._read(asked)
        return found.squeeze(dropped) if dropped else found

    def _read(self, asked: tuple[range, ...]) -> NDArray[Any]:
        raise NotImplementedError

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[(slice(None),) * self.ndim], dtype)


class ChannelArray(_Array):
    """One channel of an image, read when it is looked at."""

    def __init__(self, image: ArrayImage, channel: int) -> None:
        self.shape = display_shape(image)
        self.dtype = image.dtype
        self._image, self._channel = image, channel

    def _read(self, asked: tuple[range, ...]) -> NDArray[Any]:
        image = self._image
        letters = ("t" if image.n_frames > 1 else "") + image.spatial_axes
        where: dict[str, Any] = {a: slice(r[0], r[-1] + 1) for a, r in zip(letters, asked)}
        key = tuple(where.get(a, self._channel if a == "c" else 0) for a in image.axes)
        part = np.asarray(image.source[key])
        left = [a for a in image.axes if a in where]
        part = part.transpose([left.index(a) for a in letters])
        return part[tuple(slice(None, None, r.step) for r in asked)]


class StrokeArray(_Array):
    """Painted pixels, 0 elsewhere; memory only where something is painted.

    Takes what napari's brush, eraser, polygon and bucket write: boxes, or points given by one array per axis.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.dtype = np.dtype(np.uint8)
        flat = STROKE_CHUNK[3] if len(shape) > 2 else STROKE_CHUNK[2]
        self._edge = np.array((1,) * (len(shape) - len(flat)) + flat)
        self._chunks: dict[tuple[int, ...], NDArray[np.uint8]] = {}

    def replace(self, coords: NDArray[np.int64], classes: NDArray[np.uint8]) -> None:
        """Hold these pixels and no others. coords : (n, ndim)."""
        self._chunks = {}
        if len(coords):
            self[tuple(coords.T)] = classes

    def __getitem__(self, key: Any) -> NDArray[Any]:
        if _is_points(key):
            return self._points(key)
        return super().__getitem__(key)

    def _points(self, key: tuple[NDArray[np.int64], ...]) -> NDArray[np.uint8]:
        at = np.stack(np.broadcast_arrays(*key), -1)
        flat = at.reshape(-1, self.ndim)
        out = np.zeros(len(flat), np.uint8)
        for chunk, mine in _by_chunk(flat // self._edge):
            if chunk in self._chunks:
                out[mine] = self._chunks[chunk][tuple((flat[mine] % self._edge).T)]
        return out.reshape(at.shape[:-1])

    def _read(self, asked: tuple[range, ...]) -> NDArray[Any]:
        start = np.array([r[0] for r in asked])
        stop = np.array([r[-1] + 1 for r in asked])
        out = np.zeros(stop - start, np.uint8)
        for chunk, pixels in self._chunks.items():
            corner = np.array(chunk) * self._edge
            low, high = np.maximum(corner, start), np.minimum(corner + self._edge, stop)
            if (low < high).all():
                into = tuple(slice(a, b) for a, b in zip(low - start, high - start))
                out[into] = pixels[tuple(slice(a, b) for a, b in zip(low - corner, high - corner))]
        return out[tuple(slice(None, None, r.step) for r in asked)]

    def __setitem__(self, key: Any, value: Any) -> None:
        if not _is_points(key):
            asked, dropped = _settled(key, self.shape)
            value = np.expand_dims(np.asarray(value, np.uint8), dropped) if np.ndim(value) else value
            value = np.broadcast_to(np.asarray(value, np.uint8), [len(a) for a in asked])
            self._set_box(asked, value)
            return
        at = np.stack(np.broadcast_arrays(*key), -1).reshape(-1, self.ndim)
        values = np.broadcast_to(np.asarray(value, np.uint8), len(at))
        for chunk, mine in _by_chunk(at // self._edge):
            pixels = self._chunks.setdefault(chunk, np.zeros(self._edge, np.uint8))
            pixels[tuple((at[mine] % self._edge).T)] = values[mine]

    def _set_box(self, asked: tuple[range, ...], value: NDArray[np.uint8]) -> None:
        """Boxes are written chunk by chunk; where nothing is painted and nothing was, no chunk is made."""
        spans = [range(r[0] // e, r[-1] // e + 1) for r, e in zip(asked, self._edge)]
        for chunk in product(*spans):
            corner = np.array(chunk) * self._edge
            into, source = [], []
            for r, c, e in zip(asked, corner, self._edge):
                low, high = max(r[0], c), min(r[-1] + 1, c + e)
                into.append(slice(low - c, high - c))
                source.append(slice(low - r[0], high - r[0]))
            part = value[tuple(source)]
            if chunk in self._chunks or part.any():
                self._chunks.setdefault(chunk, np.zeros(self._edge, np.uint8))[tuple(into)] = part


def _is_points(key: Any) -> bool:
    return isinstance(key, tuple) and len(key) > 0 and all(isinstance(k, np.ndarray | list) for k in key)


def _by_chunk(chunks: NDArray[np.int64]) -> Any:
    """(chunk, positions of the rows that lie in it)."""
    unique, inverse = np.unique(chunks, axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)
    order = np.argsort(inverse, kind="stable")
    ends = np.cumsum(np.bincount(inverse, minlength=len(unique)))
    for chunk, mine in zip(unique.tolist(), np.split(order, ends[:-1])):
        yield tuple(chunk), mine


Picture = Callable[[Region, tuple[int, ...]], NDArray[np.uint8]]


class TileArray(_Array):
    """A level of a picture that is put together from predicted tiles; 0 where nothing is known yet.

    picture : called with a region of the finest level and the step along each of its axes.
    level : 0 is the finest; y and x are halved from one to the next.
    """

    def __init__(self, shape: tuple[int, ...], n_spatial: int, level: int, picture: Picture) -> None:
        self._step = (1,) * (len(shape) - 2) + (1 << level,) * 2
        self._whole, self._n_spatial, self._picture = shape, n_spatial, picture
        self.shape = tuple(-(-n // s) for n, s in zip(shape, self._step))
        self.dtype = np.dtype(np.uint8)

    def _read(self, asked: tuple[range, ...]) -> NDArray[Any]:
        first = len(self.shape) - self._n_spatial
        frames = asked[0] if first else range(1)
        spatial, step = asked[first:], self._step[first:]
        start = tuple(r[0] * s for r, s in zip(spatial, step))
        stop = tuple(min((r[-1] + 1) * s, n) for r, s, n in zip(spatial, step, self._whole[first:]))
        pictures = [self._picture(Region(start, stop, t), step) for t in frames]
        found = np.stack(pictures) if first else pictures[0]
        thin = tuple(slice(None, None, r.step) for r in spatial)
        return found[(slice(None), *thin)] if first else found[thin]


def levels(shape: tuple[int, ...], n_spatial: int, picture: Picture) -> list[TileArray]:
    """A picture at all its levels, the finest first; at least two, as napari takes one level for no pyramid."""
    n = 2
    while max(shape[-2:]) >> (n - 1) > SMALLEST_LEVEL:
        n += 1
    return [TileArray(shape, n_spatial, level, picture) for level in range(n)]
