"""What an image is, for everything that computes; readers in `io` make them.

An Image has one or more channels, 2 or 3 spatial axes and any number of frames. It is read in regions, as float32 with the channel
first; the order of the axes in the file is settled here and nowhere else.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from brushwork.blocks import Region
from brushwork.errors import InputError, unknown

SPATIAL = "zyx"
AXES = "tczyx"


@runtime_checkable
class Image(Protocol):
    """What training and prediction accept. A classifier's output can be one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Pixels along the spatial axes, (y, x) or (z, y, x)."""

    @property
    def dtype(self) -> np.dtype: ...

    @property
    def axes(self) -> str:
        """The axes as stored, letters of "tczyx"."""

    @property
    def n_frames(self) -> int: ...

    @property
    def channel_names(self) -> tuple[str, ...]: ...

    @property
    def pixel_size(self) -> tuple[float, ...] | None:
        """Micrometres per spatial axis, None where unknown."""

    @property
    def uri(self) -> str: ...

    def read(self, region: Region) -> NDArray[np.float32]:
        """The pixels of a region inside the image, (c, *spatial) float32."""


class Sliceable(Protocol):
    """An array that may live on a disk: numpy, h5py, tensorstore and our readers' own."""

    @property
    def shape(self) -> Any: ...

    @property
    def dtype(self) -> Any: ...

    def __getitem__(self, key: Any) -> Any: ...


@dataclass(frozen=True, eq=False)
class ArrayImage:
    """An Image over anything that can be sliced; nothing is read before `read`.

    source : array with the axes `axes`, e.g. "tczyx", "yxc"; y and x are needed, z, c and t may be absent.
    coarser : opens the coarser levels that are stored beside it, finest first; they are only looked at.
    """

    source: Sliceable = field(repr=False)
    axes: str
    uri: str = ""
    channel_names: tuple[str, ...] = ()
    pixel_size: tuple[float, ...] | None = None
    coarser: Callable[[], tuple["ArrayImage", ...]] = field(default=tuple, repr=False)

    def __post_init__(self) -> None:
        check_axes(self.axes, len(self.source.shape), self.uri)
        object.__setattr__(self, "channel_names", _channel_names(self))
        if self.pixel_size is not None:
            object.__setattr__(self, "pixel_size", check_pixel_size(self.pixel_size, self.spatial_axes))

    def _length(self, axis: str) -> int:
        return int(self.source.shape[self.axes.index(axis)]) if axis in self.axes else 1

    @property
    def spatial_axes(self) -> str:
        return "".join(a for a in SPATIAL if a in self.axes)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._length(a) for a in self.spatial_axes)

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(getattr(self.source.dtype, "numpy_dtype", self.source.dtype))

    @property
    def n_frames(self) -> int:
        return self._length("t")

    @property
    def n_channels(self) -> int:
        return self._length("c")

    def stored(self, region: Region) -> NDArray:
        """The pixels of a region as `read` gives them, (c, *spatial), but of the stored type."""
        where = dict(zip(self.spatial_axes, region.slices))
        key = tuple(where.get(a, region.t if a == "t" else slice(None)) for a in self.axes)
        part = np.asarray(self.source[key])
        left = self.axes.replace("t", "")
        order = [left.index(a) for a in "c" + SPATIAL if a in left]
        part = part.transpose(order)
        return part if "c" in left else part[np.newaxis]

    def read(self, region: Region) -> NDArray[np.float32]:
        return np.ascontiguousarray(self.stored(region), dtype=np.float32)


def _channel_names(image: ArrayImage) -> tuple[str, ...]:
    n, names = image.n_channels, tuple(image.channel_names)
    if not names:
        return tuple(f"channel {i}" for i in range(n)) if n > 1 else ("intensity",)
    if len(names) != n:
        raise InputError(f"{image.uri or 'image'} has {n} channels but {len(names)} channel names: {', '.join(names)}")
    return names


def check_axes(axes: str, ndim: int, what: str = "") -> str:
    """`axes` if it can describe an array of `ndim` axes; raises InputError otherwise."""
    what = what or "the image"
    for letter in axes:
        if letter not in AXES:
            raise unknown("axis", letter, AXES)
    if len(set(axes)) != len(axes):
        raise InputError(f"axes {axes!r} name an axis twice; each of t, c, z, y, x may come once")
    if "y" not in axes or "x" not in axes:
        raise InputError(f"axes {axes!r} lack y or x; every image needs both")
    if len(axes) != ndim:
        raise InputError(
            f"axes {axes!r} name {len(axes)} axes but {what} has {ndim}; give one letter per axis with --axes"
        )
    return axes


def check_pixel_size(pixel_size: Sequence[float], spatial_axes: str) -> tuple[float, ...]:
    """Micrometres for each of `spatial_axes`; raises InputError where they are too many, too few or not positive."""
    sizes = tuple(float(v) for v in pixel_size)
    if len(sizes) != len(spatial_axes):
        wanted = ",".join(spatial_axes)
        raise InputError(f"pixel size {sizes} has {len(sizes)} numbers; the image's spatial axes are {wanted}")
    if not all(0 < v < float("inf") for v in sizes):
        raise InputError(f"pixel size {sizes} must be positive numbers of micrometres")
    return sizes


@dataclass(frozen=True, eq=False)
class View:
    """An Image with the properties of another one; what is made of it says which differ, and reads."""

    image: Image

    @property
    def shape(self) -> tuple[int, ...]:
        return self.image.shape

    @property
    def dtype(self) -> np.dtype:
        return self.image.dtype

    @property
    def axes(self) -> str:
        return self.image.axes

    @property
    def n_frames(self) -> int:
        return self.image.n_frames

    @property
    def channel_names(self) -> tuple[str, ...]:
        return self.image.channel_names

    @property
    def pixel_size(self) -> tuple[float, ...] | None:
        return self.image.pixel_size

    @property
    def uri(self) -> str:
        return self.image.uri


class MaskView(View):
    """A mask made of another image: one channel of 0 and 1."""

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.uint8)

    @property
    def axes(self) -> str:
        return self.image.axes.replace("c", "")


def n_channels(image: Image) -> int:
    return len(image.channel_names)


def check_is_image(given: object) -> None:
    """Raise InputError where something else than an Image is given."""
    if not isinstance(given, Image):
        raise InputError(
            f"an Image is wanted, a {type(given).__name__} was given; make one with open_image(path) or as_image(array, axes=...)"
        )


def as_image(
    array: Any, *, axes: str | None = None, pixel_size: Sequence[float] | None = None, uri: str = "array"
) -> ArrayImage:
    """An Image over an array in memory.

    Without `axes`, 2 axes are yx and 3 are zyx; colour or channels have to be said (axes="yxc").
    """
    if axes is None:
        if array.ndim not in (2, 3):
            raise InputError(f"an array with {array.ndim} axes was given; say what they are, e.g. axes='czyx'")
        axes = SPATIAL[-array.ndim :]
    return ArrayImage(array, axes, uri, pixel_size=tuple(pixel_size) if pixel_size is not None else None)


@dataclass(frozen=True, eq=False)
class Part:
    """An array from `start` on, of `shape`; nothing is read before it is sliced, along all its axes."""

    source: Sliceable
    start: tuple[int, ...]
    shape: tuple[int, ...]

    @property
    def dtype(self) -> Any:
        return self.source.dtype

    @property
    def by_plane(self) -> bool:
        return getattr(self.source, "by_plane", False)

    @property
    def by_pixel(self) -> bool:
        return getattr(self.source, "by_pixel", False)

    def __getitem__(self, key: tuple[int | slice, ...]) -> Any:
        spans = [(range(n)[k], a) for k, a, n in zip(key, self.start, self.shape)]
        return self.source[
            tuple(slice(r.start + a, r.stop + a, r.step) if isinstance(r, range) else r + a for r, a in spans)
        ]


def part_of(image: ArrayImage, box: Mapping[str, tuple[int, int]]) -> ArrayImage:
    """The part of an image in a box. box : by axis letter, the first pixel and behind the last; other axes are kept whole."""
    spans = [box.get(a, (0, n)) for a, n in zip(image.axes, image.source.shape)]
    part = Part(image.source, tuple(a for a, _ in spans), tuple(b - a for a, b in spans))
    names = image.channel_names[slice(*box.get("c", (None,)))]
    return ArrayImage(part, image.axes, image.uri, names, image.pixel_size)


def cut_out(image: ArrayImage, region: Region) -> ArrayImage:
    """The part of an image that lies in a box, in all frames and channels."""
    return part_of(image, dict(zip(image.spatial_axes, zip(region.start, region.stop))))


def is_anisotropic(pixel_size: tuple[float, ...] | None) -> bool:
    """Whether z is at least three times as coarse as y and x (both known)."""
    # 0.3 counts as three times 0.1, whatever binary fractions say.
    return pixel_size is not None and len(pixel_size) == 3 and pixel_size[0] >= 3 * max(pixel_size[1:]) * (1 - 1e-6)


def parse_pixel_size(text: str) -> tuple[float, ...]:
    """ "2,1,1" -> (2.0, 1.0, 1.0)."""
    try:
        return tuple(float(v) for v in re.split(r"[,x ]+", text.strip()))
    except ValueError:
        raise InputError(
            f"pixel size {text!r} is not a list of numbers; give micrometres as z,y,x, e.g. 2,1,1"
        ) from None
