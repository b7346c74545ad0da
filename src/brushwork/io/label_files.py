"""Label images: any readable file, matched to its image and read piece by piece; and which values one holds."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brushwork.blocks import Region, grid, whole
from brushwork.errors import InputError
from brushwork.image import SPATIAL, ArrayImage, Image, Sliceable
from brushwork.io import nifti
from brushwork.io.sources import Squeezed
from brushwork.io.stored import Stored, checked
from brushwork.labels import Labels, from_coords, mapped

PIECE_PIXELS = 1 << 24


@dataclass(frozen=True)
class _Window:
    """What a smaller label image has to match instead of its image."""

    shape: tuple[int, ...]
    axes: str
    uri: str
    n_frames: int = 1


def read_labels(
    stored: Stored,
    uri: str,
    image: Image,
    mapping: Mapping[int, int] | None,
    offset: Sequence[int] | None = None,
) -> Labels:
    """The painted pixels of `image` that a file holds."""
    if uri.lower().endswith(nifti.SUFFIXES):
        nifti.check_same_place(uri, image, is_part=offset is not None)
    source = checked(stored.palette if stored.palette is not None else stored.levels[0].open(), uri)
    axes = stored.axes if stored.palette is None else "yx"
    if offset is not None:
        return _shifted(source, axes, uri, image, mapping, offset)
    values = _matched(source, axes, uri, image)
    return _read(values, uri, image, mapping)


def _shifted(
    source: Sliceable,
    axes: str | None,
    uri: str,
    image: Image,
    mapping: Mapping[int, int] | None,
    offset: Sequence[int],
) -> Labels:
    """Labels of a part of the image whose first pixel lies at `offset`."""
    ndim = len(image.shape)
    if image.n_frames > 1:
        raise InputError(f"{image.uri} has several frames; labels with an offset are for images with one")
    if len(offset) != ndim:
        raise InputError(f"the offset {tuple(offset)} has {len(offset)} numbers; the image has {ndim} axes")
    window = _Window(tuple(source.shape)[-ndim:], SPATIAL[-ndim:], image.uri)
    part = _read(_matched(source, axes, uri, window), uri, window, mapping)
    coords = part.coords + np.array(offset, np.int64)
    if len(coords) and ((coords < 0).any() or (coords >= np.array(image.shape)).any()):
        raise InputError(
            f"{uri} of {_by(window.shape)} at {tuple(offset)} leaves the image of {_by(image.shape)}; correct the offset"
        )
    return Labels(image.shape, coords, part.classes, part.strokes)


def _read(values: ArrayImage, uri: str, image: Image | _Window, mapping: Mapping[int, int] | None) -> Labels:
    has_time = "t" in image.axes
    coords, classes = [], []
    for t in range(image.n_frames):
        for region in grid(whole(image.shape, t), _edge(image.shape)):
            at, found = _painted(values, region, uri, mapping)
            coords.append(np.insert(at, 0, t, axis=1) if has_time else at)
            classes.append(found)
    if not any(len(found) for found in classes):
        return Labels(image.shape, coords[0], np.zeros(0, np.uint8), np.zeros(0, np.int32))
    return from_coords(np.concatenate(coords), np.concatenate(classes), image.shape)


def _edge(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Pieces are slabs of whole rows, as far as they have room: label images are often compressed page by page."""
    edge: list[int] = []
    for n in reversed(shape):
        edge.insert(0, min(n, max(1, PIECE_PIXELS // math.prod(edge))))
    return tuple(edge)


def _painted(
    values: ArrayImage, region: Region, uri: str, mapping: Mapping[int, int] | None
) -> tuple[NDArray, NDArray]:
    piece = values.stored(region)[0]
    at = np.argwhere(piece)
    found = piece[tuple(at.T)]
    try:
        classes = mapped(found, mapping)
    except InputError as error:
        raise InputError(f"{uri}: {error}") from None
    if mapping is None and len(classes) and classes.max() > 255:
        raise InputError(
            f"{uri} holds the value {classes.max()}; classes are 1 to 255 (is it an image, or numbered objects?)"
        )
    painted = classes > 0
    return at[painted] + region.start, classes[painted]


def _matched(source: Sliceable, axes: str | None, uri: str, image: Image | _Window) -> ArrayImage:
    """The label image with the axes of `image`, whose frames and pixels it must share."""
    spatial = "".join(a for a in SPATIAL if a in image.axes)[-len(image.shape) :]
    extent = image.shape if image.n_frames == 1 else (image.n_frames, *image.shape)
    wanted = spatial if image.n_frames == 1 else "t" + spatial
    if axes is not None and len(axes) == len(source.shape):
        source, axes = _without_single(source, axes, wanted)
        if sorted(axes) == sorted(wanted):
            found = ArrayImage(source, axes, uri)
            if found.shape == image.shape and found.n_frames == image.n_frames:
                return found
    else:
        for axis in reversed([i for i, n in enumerate(source.shape) if n == 1]):
            if len(source.shape) > len(extent):
                source = Squeezed(source, axis)
        if tuple(source.shape) == extent:
            return ArrayImage(source, wanted, uri)
    is_part = math.prod(source.shape) < math.prod(extent)
    hint = "; labels of a part of it need an offset that says where their first pixel lies" if is_part else ""
    raise InputError(
        f"labels in {uri} are {_extent(source)}{_named(axes)}, the image {image.uri} is {_by(extent)} ({wanted}){hint}"
    )


def _without_single(source: Sliceable, axes: str, wanted: str) -> tuple[Sliceable, str]:
    for letter in axes:
        if letter not in wanted and source.shape[axes.index(letter)] == 1:
            source, axes = Squeezed(source, axes.index(letter)), axes.replace(letter, "")
    return source, axes


def _extent(source: Any) -> str:
    return _by(source.shape)


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in shape)


def _named(axes: str | None) -> str:
    return f" ({axes})" if axes else ""


# ---------------------------------------------------------------- values


def values_in(stored: Stored, uri: str) -> dict[int, int]:
    """How many pixels hold each value but 0; raises InputError where the values are no whole numbers from 0."""
    source = checked(stored.palette if stored.palette is not None else stored.levels[0].open(), uri)
    shape = tuple(source.shape)
    counts: Counter[int] = Counter()
    for piece in grid(whole(shape), _edge(shape)):
        values, numbers = np.unique(np.asarray(source[piece.slices]), return_counts=True)
        try:
            counts.update(dict(zip(mapped(values, None).tolist(), numbers.tolist())))
        except InputError as error:
            raise InputError(f"{uri}: {error}") from None
    del counts[0]
    return dict(sorted(counts.items()))


def itksnap_names(path: Path) -> dict[int, tuple[str, str]]:
    """value -> (name, color) in a file of label descriptions that ITK-SNAP saves; color is "#rrggbb"."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as label descriptions of ITK-SNAP ({error})") from error
    found = {}
    for line in lines:
        told = re.fullmatch(r'\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s.*?"(.*)"\s*', line)
        if told:
            color = "#" + bytes(min(int(v), 255) for v in told.group(2, 3, 4)).hex()
            found[int(told[1])] = (told[5].strip(), color)
    if not found:
        raise InputError(
            f"{path} holds no label descriptions; in ITK-SNAP save them with Segmentation > Save Label Descriptions"
        )
    return found
