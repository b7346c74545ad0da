"""Strokes of a project: what was painted in one go, and how its pixels are stored."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from brushwork.errors import InputError

ORIGINS = ("brush", "eraser", "fill", "import", "prediction")


@dataclass(frozen=True, eq=False)
class Stroke:
    """Pixels of one image that were painted in one go.

    id : 1, 2, ... in the order of painting, over all tasks of a project. image : the entry's id. class_id : 0 erases.
    coords : (n, ndim) int64, or (n, 1 + ndim) with the frame first where the image has time; each pixel once, in C order.
    check : kept for checking only, never trained on. origin : one of ORIGINS. when : seconds since 1970.
    """

    id: int
    image: str
    class_id: int
    coords: NDArray[np.int64] = field(repr=False)
    check: bool = False
    origin: str = "brush"
    when: float = 0.0
    undone: bool = False

    def __post_init__(self) -> None:
        self.coords.setflags(write=False)

    def __len__(self) -> int:
        return len(self.coords)


def checked_coords(coords: ArrayLike, extent: Sequence[int]) -> NDArray[np.int64]:
    """Coordinates with each pixel once, in C order.

    coords : (n, len(extent)) whole numbers. extent : pixels along the frame axis (where there is time) and the spatial axes.
    Raises InputError where there are none, or some lie outside.
    """
    given = np.asarray(coords)
    if given.dtype.kind not in "iu" or given.ndim != 2 or given.shape[1] != len(extent):
        raise InputError(
            f"coordinates of shape {given.shape} and type {given.dtype} were given; this image takes whole numbers of shape "
            f"(n, {len(extent)}), one column per axis of {tuple(extent)}"
        )
    if not len(given):
        raise InputError("a stroke without pixels was given; paint at least one")
    low, high = given.min(0), given.max(0)
    if (low < 0).any() or (high >= np.array(extent)).any():
        raise InputError(
            f"a stroke from {tuple(low.tolist())} to {tuple(high.tolist())} leaves its image of {tuple(extent)}; cut it off"
        )
    positions = np.ravel_multi_index(tuple(given.T), tuple(extent))
    return _coords(np.unique(positions), extent)


def _coords(positions: NDArray[np.int64], extent: Sequence[int]) -> NDArray[np.int64]:
    return np.stack(np.unravel_index(positions, tuple(extent)), axis=1).astype(np.int64, copy=False)


# ---------------------------------------------------------------- as bytes


def packed(coords: NDArray[np.int64], extent: Sequence[int]) -> tuple[dict[str, Any], bytes]:
    """(facts, payload) of coordinates (checked_coords), which `unpacked` reads back.

    Pixels are numbered in C order in an array of `extent`. The payload is, compressed by zlib, the first number and the
    differences between successive ones, little-endian: int32 where facts["width"] is 4, int64 where it is 8.
    facts : "extent", "pixels" (how many) and "width".
    """
    positions = np.ravel_multi_index(tuple(coords.T), tuple(extent))
    steps = np.diff(positions, prepend=0)
    width = 4 if steps.max() < 1 << 31 else 8
    facts = {"extent": [int(n) for n in extent], "pixels": len(positions), "width": width}
    return facts, zlib.compress(steps.astype(f"<i{width}").tobytes(), 1)


def unpacked(facts: Mapping[str, Any], payload: bytes) -> NDArray[np.int64]:
    """The coordinates of `packed`; raises InputError where they do not make sense."""
    extent, n, width = tuple(facts["extent"]), facts["pixels"], facts["width"]
    try:
        data = zlib.decompressobj().decompress(payload, n * width + 1)  # no more than was announced
        steps = np.frombuffer(data, f"<i{width}")
    except (TypeError, ValueError, zlib.error) as error:
        raise InputError(f"the pixels of a stroke cannot be read ({error})") from None
    positions = steps.cumsum(dtype=np.int64)
    if len(positions) != n or n == 0 or (steps[1:] < 1).any() or positions[0] < 0 or positions[-1] >= np.prod(extent):
        raise InputError(f"the pixels of a stroke cannot be read: {len(positions)} in {extent}, {n} were announced")
    return _coords(positions, extent)
