"""Arrays that napari slices like NumPy's, and that hold almost nothing: an image's channel, strokes, and predicted tiles.

Their axes are ([t,] *spatial): time comes first where the image has it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brushwork.blocks import Region
from brushwork.image import ArrayImage
from brushwork.overview import Overview

STROKE_CHUNK = {2: (64, 64), 3: (8, 64, 64)}
LARGEST_PLANE = 4096  # pixels in y or x; larger images are shown at several levels
MOST_READ = 1 << 26  # pixels that are read to be thinned while the window waits
LARGEST_IN_3D = 2048  # pixels; what graphics cards take along each axis of a volume
MOST_STROKES = 1 << 26  # pixels of strokes that napari holds


def display_shape(image: Any) -> tuple[int, ...]:
    """([t,] *spatial)."""
    return ((image.n_frames,) if image.n_frames > 1 else ()) + tuple(image.shape)


def display_scale(image: Any) -> tuple[float, ...]:
    """([t,] *spatial): how large a pixel is, in micrometres where the image tells; frames are one apart."""
    size = image.pixel_size or (1.0,) * len(image.shape)
    return ((1.0,) if image.n_frames > 1 else ()) + tuple(size)


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
        return np.asarray(self._read(tuple(range(n) for n in self.shape)), dtype)


class _Level(_Array):
    """One of several levels: of these napari cuts y and x first, of all planes, and then takes one. So a box is read later."""

    def __getitem__(self, key: Any) -> Any:
        asked, dropped = _settled(key, self.shape)
        return super().__getitem__(key) if dropped or self.ndim == 2 else _Box(self, asked)


class _Box(_Level):
    """A part of a level; what is asked of it is read."""

    def __init__(self, level: _Level, spans: tuple[range, ...]) -> None:
        self.shape, self.dtype = tuple(len(r) for r in spans), level.dtype
        self._level, self._spans = level, spans

    def _read(self, asked: tuple[range, ...]) -> NDArray[Any]:
        if not all(len(r) for r in asked):
            return np.zeros([len(r) for r in asked], self.dtype)
        return self._level._read(tuple(span[r[0] : r[-1] + 1 : r.step] for span, r in zip(self._spans, asked)))


class ChannelArray(_Level):
    """One channel of an image, read when it is looked at.

    step : of a coarser level, every how manieth pixel along y and x. overview : of the image, for views that are too large to read.
    """

    def __init__(self, image: ArrayImage, channel: int, step: int = 1, overview: Overview | None = None) -> None:
        whole = display_shape(image)
        self._step = (1,) * (len(whole) - 2) + (step,) * 2
        self.shape = tuple(-(-n // s) for n, s in zip(whole, self._step))
        self.dtype = image.dtype
        self._image, self._channel, self._overview = image, channel, overview

    def _read(self, asked: tuple[range, ...]) -> NDArray[Any]:
        spans = tuple(range(r[0] * s, r[-1] * s + 1, r.step * s) for r, s in zip(asked, self._step))
        n_read = math.prod(r[-1] + 1 - r[0] for r in spans)
        if self._overview is not None and n_read > MOST_READ and not is_thinned(self._image.source):
            return self._overview.picture(self._channel, spans)
        return self._thinned(spans)

    def _thinned(self, spans: tuple[range, ...]) -> NDArray[Any]:
        image = self._image
        letters = ("t" if image.n_frames > 1 else "") + image.spatial_axes
        steps = [r.step for r in spans] if is_thinned(image.source) else [1] * len(spans)
        where: dict[str, Any] = {a: slice(r[0], r[-1] + 1, s) for a, r, s in zip(letters, spans, steps)}
        key = tuple(where.get(a, self._channel if a == "c" else 0) for a in image.axes)
        part = np.asarray(image.source[key])
        left = [a for a in image.axes if a in where]
        part = part.transpose([left.index(a) for a in letters])
        return part[tuple(slice(None, None, r.step // s) for r, s in zip(spans, steps))]


def is_thinned(source: Any) -> bool:
    """Whether every n-th pixel of a source costs less than all of them."""
    return isinstance(source, np.ndarray) or getattr(source, "by_pixel", False)


def channel_levels(image: ArrayImage, channel: int, overview: Overview) -> list[ChannelArray] | None:
    """A channel of a large image at all its levels, the finest first; None of an image that is shown as it is.

    What is stored is used; between stored levels and beyond the last one they are every second, fourth, ... pixel.
    """
    if max(image.shape[-2:]) <= LARGEST_PLANE:
        return None
    stored = (image, *image.coarser())
    edges = [max(level.shape[-2:]) for level in stored]
    ends = [1.5 * edge for edge in edges[1:]] + [_smallest(len(display_shape(image))) / 2]
    found = []
    for level, edge, end in zip(stored, edges, ends):
        seen = overview if level is stored[-1] else None
        steps = [1 << i for i in range(edge.bit_length()) if i == 0 or edge / (1 << i) > end]
        found += [ChannelArray(level, channel, step, seen) for step in steps]
    return found


def _smallest(ndim: int) -> int:
    """Pixels; coarser levels are added until y and x fit.

    napari keeps the coarsest level of a plane as it was first, so there it is too small to be looked at; in 3D it shows no other.
    """
    return 64 if ndim == 2 else 512


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

    def from_afar(self, window: "Window") -> NDArray[np.uint8]:
        """What a window shows of the strokes: a pixel of it is painted where anything below it is."""
        start, steps = np.array(window.start), np.array(window.steps)
        out = np.zeros(window.shape, np.uint8)
        for chunk, pixels in self._chunks.items():
            at = np.argwhere(pixels) + np.array(chunk) * self._edge
            at = at[((at >= start) & (at < window.stop)).all(1)]
            out[tuple(((at - start) // steps).T)] = pixels[tuple((at % self._edge).T)]
        return out

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


@dataclass(frozen=True)
class Window:
    """The part of the strokes that napari holds, ([t,] *spatial) pixels of the image; every step-th along y and x."""

    start: tuple[int, ...]
    stop: tuple[int, ...]
    step: int = 1

    @property
    def steps(self) -> tuple[int, ...]:
        return (1,) * (len(self.start) - 2) + (self.step,) * 2

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(-(-(b - a) // s) for a, b, s in zip(self.start, self.stop, self.steps))

    def holds(self, low: tuple[int, ...], high: tuple[int, ...]) -> bool:
        """Whether a view of y and x lies in it."""
        return all(a <= p and q <= b for a, b, p, q in zip(self.start[-2:], self.stop[-2:], low, high))


def window_of(
    shape: tuple[int, ...],
    view: tuple[tuple[int, ...], tuple[int, ...]] | None,
    before: Window | None = None,
    *,
    most: int = MOST_STROKES,
) -> Window:
    """The window for a view: (first, last) pixels in y and x, None of a 3D view, which needs all. The one before if that will do.

    Planes of up to `most` pixels are one window. Larger ones have one around the view, coarser where the view is too large itself.
    """
    edge = math.isqrt(most)
    if view is None:
        edge = min(math.isqrt(most // math.prod(shape[:-2])), LARGEST_IN_3D)
    if max(shape[-2:]) <= edge:
        return Window((0,) * len(shape), shape)
    low, high = view if view is not None else ((0, 0), shape[-2:])
    step = 1
    while max(b - a for a, b in zip(low, high)) * 5 > edge * step * 4:  # some room around it, to move in
        step *= 2
    if before is not None and before.step == step and max(before.shape[-2:]) <= edge and before.holds(low, high):
        return before
    span = edge * step
    start = [max(min((a + b - span) // 2, n - span), 0) // step * step for a, b, n in zip(low, high, shape[-2:])]
    stop = [min(a + span, n) for a, n in zip(start, shape[-2:])]
    return Window((0,) * (len(shape) - 2) + tuple(start), shape[:-2] + tuple(stop), step)


class StrokeWindow(_Array):
    """The strokes in a window, to paint in; where it is coarse they are only looked at, and nothing is painted."""

    def __init__(self, strokes: StrokeArray, window: Window) -> None:
        self.shape, self.dtype = window.shape, strokes.dtype
        self._strokes, self._window = strokes, window

    def __getitem__(self, key: Any) -> NDArray[Any]:
        if _is_points(key):
            return self._strokes[self._moved(key)] if self._window.step == 1 else np.zeros(key[0].shape, np.uint8)
        return super().__getitem__(key)

    def _moved(self, key: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(np.asarray(k) + a for k, a in zip(key, self._window.start))

    def _read(self, asked: tuple[range, ...]) -> NDArray[Any]:
        if self._window.step > 1:
            parts = tuple(slice(r[0], r[-1] + 1, r.step) for r in asked)
            return self._strokes.from_afar(self._window)[parts]
        return self._strokes._read(
            tuple(range(r[0] + a, r[-1] + a + 1, r.step) for r, a in zip(asked, self._window.start))
        )

    def __setitem__(self, key: Any, value: Any) -> None:
        if self._window.step > 1:
            return
        if _is_points(key):
            self._strokes[self._moved(key)] = value
            return
        asked, dropped = _settled(key, self.shape)
        if dropped and np.ndim(value):
            value = np.expand_dims(np.asarray(value, np.uint8), dropped)
        box = tuple(slice(r[0] + a, r[-1] + a + 1) for r, a in zip(asked, self._window.start))
        self._strokes[box] = value


Picture = Callable[[Region, tuple[int, ...]], NDArray[np.uint8]]


class TileArray(_Level):
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
    while max(shape[-2:]) >> (n - 1) > _smallest(len(shape)):
        n += 1
    return [TileArray(shape, n_spatial, level, picture) for level in range(n)]
