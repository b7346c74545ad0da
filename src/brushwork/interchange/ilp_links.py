"""How ilastik opens the images of a project: by a link that its own readers follow, or inside its project file."""

import math
import re
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import tifffile
from PIL import Image as Pillow

from brushwork.document import ImageEntry
from brushwork.errors import InputError
from brushwork.image import SPATIAL, ArrayImage
from brushwork.interchange.ilp import IlpDataset
from brushwork.io import hdf5, image_levels, n5
from brushwork.io.places import file_of, is_remote, noted, split_inside, stem
from brushwork.io.wrong import not_readable
from brushwork.project import Project

LINKS = ("relative", "absolute", "embedded")
MOST_EMBEDDED = 1 << 30  # bytes of an image
T = TypeVar("T")


class Link(NamedTuple):
    """uri : a full path, which may go on inside an HDF5 file. axes, shape : as ilastik sees them."""

    uri: str
    axes: str
    shape: tuple[int, ...]


def dataset_of(project: Project, entry: ImageEntry, path: Path, links: str, notes: list[str]) -> IlpDataset:
    """An image as an input of the ilastik project `path`. links : one of LINKS.

    What ilastik could not open, or would see as something else, goes inside. Raises InputError where it is too large for that.
    """
    place = project.place(entry.id)
    link = _link(place, entry)
    n_bytes = math.prod(entry.extent) * len(entry.channel_names) * np.dtype(entry.dtype or np.uint8).itemsize
    if link is None and n_bytes > MOST_EMBEDDED:
        raise InputError(
            f"{place} cannot be linked, as ilastik does not read it as it is here, and is too large to be put into the "
            f"project; write it as HDF5 (brushwork convert {place} NAME.h5) and add that to the project instead"
        )
    if link is None or (links == "embedded" and n_bytes <= MOST_EMBEDDED):
        if links != "embedded":
            notes.append(
                f"{file_of(place).name} was put into the project: ilastik could not open it as it is opened here"
            )
        return _inside(place, entry)
    if links == "embedded":
        notes.append(f"{file_of(place).name} was linked: it is too large to be put into the project")
    return _linked(link, entry, path.absolute().parent, links == "absolute", notes)


def _inside(place: str, entry: ImageEntry) -> IlpDataset:
    lengths = _lengths(entry)
    axes = "".join(a for a in "tzyxc" if a in "yxc" or a in SPATIAL[-len(entry.shape) :] or lengths[a] > 1)
    shape = tuple(lengths[a] for a in axes)
    return IlpDataset("embedded", ("",), stem(place), axes, shape, _sizes(entry), str(uuid.uuid1()))


def _linked(link: Link, entry: ImageEntry, folder: Path, is_absolute: bool, notes: list[str]) -> IlpDataset:
    """ilastik takes relative links only to what lies below the folder of its project."""
    written = noted(link.uri, folder, absolute=is_absolute)
    if written.startswith("../"):
        written = noted(link.uri, folder, absolute=True)
        notes.append(f"{file_of(link.uri).name} was linked by its full path: it does not lie below {folder}")
    return IlpDataset("file", (written,), stem(link.uri), link.axes, link.shape, _sizes(entry), str(uuid.uuid1()))


def _sizes(entry: ImageEntry) -> tuple[tuple[str, float], ...]:
    return tuple(zip(SPATIAL[-len(entry.shape) :], entry.pixel_size or ()))


def _lengths(entry: ImageEntry) -> dict[str, int]:
    lengths = {"t": entry.n_frames, "z": 1, "c": len(entry.channel_names)}
    return lengths | dict(zip(SPATIAL[-len(entry.shape) :], entry.shape))


def _link(place: str, entry: ImageEntry) -> Link | None:
    """A file as ilastik's own readers see it; None where they see none, or something else."""
    file, lengths = file_of(place), _lengths(entry)
    suffix = file.suffix.lower()
    if is_remote(place) or re.search(r"[*?\[]", place) or entry.options.get("level") is not None:
        return None
    if suffix in NAMES:
        return _link_inside(place, entry)
    if suffix not in SHAPES or str(file) != place:
        return None
    seen = _looked_at(file, SHAPES[suffix]) if file.is_file() else None
    if suffix == ".npy":
        axes = _filled(entry.axes, seen or [lengths[a] for a in entry.axes])
    elif suffix in TIFF:
        axes = "".join(a for a in entry.axes if a in "yx" or lengths[a] > 1)
    else:
        axes = "yxc"
    shape = tuple(lengths[a] for a in axes)
    is_same = seen is None or _without_ones(seen) == _without_ones(shape)
    return Link(place, axes, shape) if is_same else None


def _link_inside(place: str, entry: ImageEntry) -> Link:
    """ilastik wants the name of the array, also of the only one."""
    lengths, (file, inside) = _lengths(entry), split_inside(place)
    shape = tuple(lengths[a] for a in entry.axes)
    if Path(file).exists():
        ((_, shape, _),) = image_levels(place)
        inside = inside or NAMES[Path(file).suffix.lower()](Path(file))[0]
    return Link(f"{file}/{inside}" if inside else file, _filled(entry.axes, shape), shape)


def _looked_at(file: Path, look: Callable[[Path], T]) -> T:
    try:
        return look(file)
    except (OSError, ValueError, SyntaxError, RuntimeError, tifffile.TiffFileError) as error:
        raise not_readable(file, "an image", error) from error


def _tiff_shape(path: Path) -> tuple[int, ...]:
    """Empty where there are several images in a file: ilastik opens none of them."""
    with tifffile.TiffFile(path) as file:
        return tuple(file.series[0].shape) if len(file.series) == 1 else ()


def _picture_shape(path: Path) -> tuple[int, ...]:
    """Empty where there are transparent or indexed colours, which ilastik takes for something else."""
    with Pillow.open(path) as picture:
        n_channels = {"L": 1, "I;16": 1, "RGB": 3}.get(picture.mode)
        return (picture.height, picture.width, n_channels) if n_channels else ()


def _array_shape(path: Path) -> tuple[int, ...]:
    return tuple(np.load(path, mmap_mode="r").shape)


TIFF = (".tif", ".tiff")
NAMES = {".h5": hdf5.names, ".hdf5": hdf5.names, ".n5": n5.names}  # of the arrays in a file
SHAPES: dict[str, Callable[[Path], tuple[int, ...]]] = {
    **dict.fromkeys(TIFF, _tiff_shape),
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".bmp"), _picture_shape),
    ".npy": _array_shape,
}


def _without_ones(shape: Sequence[int]) -> list[int]:
    return [n for n in shape if n > 1]


def _filled(axes: str, shape: Sequence[int]) -> str:
    """A letter for every axis of a file, of which some of length 1 may be left out of `axes`.

    >>> _filled("yx", (1, 20, 30, 1))
    'tyxc'
    """
    left, spare, found = list(axes), [a for a in "tzc" if a not in axes], ""
    for i, n in enumerate(shape):
        if n > 1 or len(shape) - i <= len(left):
            found += left.pop(0)
        else:
            found += spare.pop(-1 if i == len(shape) - 1 else 0)
    return found


def without_pixels(entry: ImageEntry) -> ArrayImage:
    """An image of a document without its pixels, which may be missing."""
    lengths = _lengths(entry)
    nothing = np.broadcast_to(np.zeros((), entry.dtype or np.uint8), [lengths[a] for a in entry.axes])
    return ArrayImage(nothing, entry.axes, entry.path, entry.channel_names, entry.pixel_size)
