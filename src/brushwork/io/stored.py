"""What a reader finds in a file, and how axes, level and pixel size are settled from it: here, for every format."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from brushwork.errors import InputError, unknown
from brushwork.image import SPATIAL, ArrayImage, Sliceable, check_axes
from brushwork.io.sources import Squeezed

NEAR = 1.25  # a level asked for by pixel size may be off by this factor


@dataclass(frozen=True)
class Level:
    """One resolution of a stored image.

    open : gives the array; called once the level is chosen.
    pixel_size : micrometres by axis letter, only those that the file knows.
    """

    name: str
    open: Callable[[], Sliceable]
    pixel_size: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Stored:
    """What a file holds and says about itself; what every reader returns.

    levels : finest first; at least one.
    axes : letters of "tczyx" for the array's axes, None where the file does not say.
    palette : the same picture as numbers, where a file stores colours by number (label images often do).
    note : added to the error that asks for axes.
    """

    levels: tuple[Level, ...]
    axes: str | None = None
    channel_names: tuple[str, ...] = ()
    palette: Sliceable | None = None
    note: str = ""


def suffix_of(path: Path, known: Iterable[str]) -> str:
    """What tells a file's format: the longest of `known` that its name ends with ("a.nii.gz": ".nii.gz"), else its last suffix."""
    name = path.name.lower()
    return max((s for s in known if name.endswith(s) and name != s), key=len, default=path.suffix.lower())


ZARR_MARKERS = ("zarr.json", ".zattrs", ".zgroup", ".zarray")


def is_zarr(folder: Path) -> bool:
    """Whether a folder is a zarr, by its name or by what lies in it."""
    return folder.suffix.lower() == ".zarr" or any((folder / marker).is_file() for marker in ZARR_MARKERS)


def is_n5(folder: Path) -> bool:
    """Whether a folder is an N5, or lies in one."""
    return any(p.suffix.lower() == ".n5" for p in (folder, *folder.parents))


def is_image_folder(folder: Path) -> bool:
    """Whether a folder is opened as one image, not for the files in it."""
    return is_zarr(folder) or is_n5(folder)


def one_level(
    source: Sliceable,
    axes: str | None = None,
    *,
    pixel_size: Mapping[str, float] | None = None,
    channel_names: Sequence[str] = (),
    palette: Sliceable | None = None,
) -> Stored:
    """A file with a single resolution."""
    level = Level("0", lambda: source, pixel_size or {})
    return Stored((level,), axes, tuple(channel_names), palette)


def choose_level(
    levels: Sequence[Level], level: int | str | None, pixel_size: Sequence[float] | None, uri: str
) -> Level:
    """The level of that name or number, else the one nearest in pixel size (y and x), else the finest."""
    if level is not None:
        return _named_level(levels, level, uri)
    if pixel_size is None or len(levels) == 1:
        return levels[0]
    sized = [(entry, _edge(entry)) for entry in levels]
    known = [(entry, edge) for entry, edge in sized if edge is not None]
    if not known:
        return levels[0]
    wanted = math.sqrt(math.prod(pixel_size[-2:])) if len(pixel_size) > 1 else pixel_size[0]
    best, edge = min(known, key=lambda pair: abs(math.log(pair[1] / wanted)))
    if not 1 / NEAR <= edge / wanted <= NEAR:
        there = ", ".join(f"{entry.name} ({edge:g} um)" for entry, edge in known)
        raise InputError(
            f"{uri} has no level with pixels near {wanted:g} um; its levels are {there}; choose one with --level"
        )
    return best


def _edge(level: Level) -> float | None:
    sizes = level.pixel_size
    return math.sqrt(sizes["y"] * sizes["x"]) if "y" in sizes and "x" in sizes else None


def _named_level(levels: Sequence[Level], level: int | str, uri: str) -> Level:
    for entry in levels:
        if entry.name == str(level):
            return entry
    if str(level).isdigit() and int(level) < len(levels):
        return levels[int(level)]
    raise unknown(f"level of {uri}", level, [entry.name for entry in levels])


def settle(
    stored: Stored,
    uri: str,
    *,
    axes: str | None = None,
    level: int | str | None = None,
    pixel_size: Sequence[float] | None = None,
    like: str | None = None,
) -> ArrayImage:
    """The image that a file holds, once its axes, level and pixel size are decided.

    axes : overrides what the file says. like : axes of the training image, used where the file says nothing.
    """
    chosen = choose_level(stored.levels, level, pixel_size, uri)
    source = checked(chosen.open(), uri)
    if axes is not None:
        axes = axes.lower()
        source = fitted(source, axes)
        check_axes(axes, len(source.shape), uri)
    else:
        source, axes = _told_axes(source, stored, uri, like)
    sizes = chosen.pixel_size
    picked_by_size = level is None and len(stored.levels) > 1 and "x" in sizes
    if pixel_size is None or picked_by_size:
        spatial = [a for a in SPATIAL if a in axes]
        pixel_size = tuple(sizes[a] for a in spatial) if all(a in sizes for a in spatial) else None
    n_channels = source.shape[axes.index("c")] if "c" in axes else 1
    names = stored.channel_names if len(stored.channel_names) == n_channels else ()
    below = stored.levels[stored.levels.index(chosen) + 1 :]
    size = tuple(pixel_size) if pixel_size is not None else None
    return ArrayImage(source, axes, uri, names, size, partial(_coarser, below, axes, source.shape))


def _coarser(levels: Sequence[Level], axes: str, shape: Sequence[int]) -> tuple[ArrayImage, ...]:
    """Those of the levels that show the same in fewer pixels; a level may have lost an axis that others have."""
    found = []
    for level in levels:
        source = fitted(level.open(), axes)
        if len(source.shape) != len(axes):
            continue
        lengths = [(a, new, old) for a, new, old in zip(axes, source.shape, shape)]
        if all(new < old if a in "yx" else new == old or (a == "z" and new < old) for a, new, old in lengths):
            found.append(ArrayImage(source, axes))
            shape = source.shape
    return tuple(found)


def _told_axes(source: Sliceable, stored: Stored, uri: str, like: str | None) -> tuple[Sliceable, str]:
    """The array and its axes, without the z, t and c of length 1 that the training image does not have."""
    axes = stored.axes
    if axes is None:
        if like is not None and len(fitted(source, like).shape) == len(like):
            source, axes = fitted(source, like), like
        elif sum(n > 1 for n in source.shape) <= 2 <= len(source.shape):
            source, axes = fitted(source, "yx"), "yx"
    if axes is None or len(axes) != len(source.shape):
        raise axes_wanted(source.shape, uri, stored.note)
    check_axes(axes, len(source.shape), uri)
    for letter in "tzc":
        if letter in axes and source.shape[axes.index(letter)] == 1 and letter not in (like or ""):
            source, axes = Squeezed(source, axes.index(letter)), axes.replace(letter, "")
    return source, axes


def fitted(source: Sliceable, axes: str) -> Sliceable:
    """`source` without some axes of length 1, where it has more axes than `axes` and that makes it fit."""
    surplus = len(source.shape) - len(axes)
    single = [i for i, n in enumerate(source.shape) if n == 1]
    if surplus < 1 or len(single) < surplus:
        return source
    for axis in reversed(single[:surplus]):
        source = Squeezed(source, axis)
    return source


def axes_wanted(shape: Sequence[int], uri: str, note: str = "") -> InputError:
    """The error that asks for axes, with suggestions that fit the shape."""
    if len(shape) < 2:
        return InputError(f"{uri} has {len(shape)} axes; an image has at least two")
    shape = (
        tuple(n for n in shape if n > 1) if len(shape) > 5 else shape
    )  # ImageJ's planes have several axes of length 1
    suggestions = {3: ["zyx", "cyx", "tyx"], 4: ["czyx", "zcyx", "tzyx", "zyxc"], 5: ["tczyx", "tzcyx", "tzyxc"]}
    fitting = suggestions.get(len(shape), [])
    if shape[-1] in (3, 4):
        fitting = sorted(fitting, key=lambda axes: axes[-1] != "c") if len(shape) > 3 else ["yxc", *fitting]
    extent = " x ".join(str(n) for n in shape)
    if not fitting:
        return InputError(f"{uri} has {len(shape)} axes ({extent}); at most t, c, z, y, x are understood")
    hint = f"; {note}" if note else ""
    example = f"say it with --axes, e.g. {' or '.join(fitting)}{hint}"
    return InputError(f"{uri} has {len(shape)} axes ({extent}) and does not say what they are; {example}")


def checked(source: Sliceable, uri: str) -> Sliceable:
    """`source`, if it holds numbers that can be an image; raises InputError otherwise."""
    dtype = np.dtype(getattr(source.dtype, "numpy_dtype", source.dtype))
    if dtype.kind not in "buif" or dtype.itemsize > 8:
        raise InputError(f"{uri} holds values of type {dtype}; an image needs whole or floating-point numbers")
    if 0 in tuple(source.shape):
        raise InputError(f"{uri} is empty: its shape is {' x '.join(str(n) for n in source.shape)}")
    return source
