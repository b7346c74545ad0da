"""HDF5: `FILE.h5/internal/path`; axes from ilastik's axistags, dimension labels or element sizes."""

import json
import math
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from brushwork.errors import InputError
from brushwork.io.hdf5_texts import are_sound
from brushwork.io.sources import full_key
from brushwork.io.stored import Stored, one_level
from brushwork.io.units import to_um
from brushwork.io.wrong import first_line, missing, not_readable

WANTED = "an HDF5 file"
SUFFIXES = (".h5", ".hdf5", ".hdf")
CHUNK_CACHE = 64 << 20
MOST_LOOKED_THROUGH = 4 << 20  # bytes of a file; looking through larger ones would be noticed
LARGEST_CHUNK = 1 << 30  # bytes
DAMAGE = (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, OverflowError)


def split(uri: str) -> tuple[Path, str]:
    """The file and the path inside it ("" if none is given)."""
    for match in re.finditer(r"\.(?:h5|hdf5|hdf)(?=[/\\]|$)", uri, re.IGNORECASE):
        path = Path(uri[: match.end()])
        if path.is_file():
            return path, uri[match.end() :].replace("\\", "/").strip("/")
    raise missing(Path(uri))


def read(uri: str, chunk_cache: int = CHUNK_CACHE) -> Stored:
    """chunk_cache : bytes of decoded chunks that are kept."""
    path, inside = split(uri)
    try:
        dataset = _dataset(_opened(path, rdcc_nbytes=chunk_cache), path, inside)
        _check_pixels(dataset, path)
        axes, sizes = _described(dataset)
        return one_level(Hdf5Array(dataset, path), axes, pixel_size=sizes, channel_names=_channel_names(dataset))
    except InputError:
        raise
    except DAMAGE as error:
        raise not_readable(path, WANTED, error) from error


def names(path: Path) -> list[str]:
    """The datasets of a file that may be images."""
    try:
        with _opened(path) as file:
            return _names(file)
    except InputError:
        raise
    except DAMAGE as error:
        raise not_readable(path, WANTED, error) from error


def _opened(path: Path, **options: Any) -> Any:
    if 0 < path.stat().st_size <= MOST_LOOKED_THROUGH and not are_sound(path):
        raise InputError(f"{path} is damaged: its texts are not as long as it says; get an undamaged copy")
    try:
        return h5py.File(path, "r", **options)
    except DAMAGE as error:
        raise not_readable(path, WANTED, error) from error


def _check_pixels(dataset: Any, path: Path) -> None:
    """Raise InputError where pixels can not be read piece by piece, or are kept in files that are not HDF5."""
    if dataset.shape is None:
        raise InputError(f"{path}{dataset.name} holds nothing")
    if dataset.external:
        raise InputError(f"{path}{dataset.name} keeps its numbers in another file; copy them into this one")
    chunk, size = (math.prod(n or ()) * dataset.dtype.itemsize for n in (dataset.chunks, dataset.shape))
    if chunk > LARGEST_CHUNK:
        raise InputError(
            f"{path}{dataset.name} has chunks of {chunk:,} bytes, more than can be meant; write smaller ones"
        )
    if size > LARGEST_CHUNK and dataset.id.get_storage_size() == 0 and not dataset.is_virtual:
        raise InputError(f"{path}{dataset.name} claims {size:,} bytes of pixels and stores none; get an undamaged copy")


class Hdf5Array:
    """A dataset; owns a lock, because HDF5 is read by one thread at a time."""

    def __init__(self, dataset: Any, path: Path) -> None:
        self.shape, self.dtype, self._dataset, self._path = dataset.shape, dataset.dtype, dataset, path
        self._lock = threading.Lock()

    def __getitem__(self, key: Any) -> Any:
        with self._lock:
            try:
                return self._dataset[full_key(key, len(self.shape))]
            except DAMAGE as error:
                raise InputError(f"{self._path}{self._dataset.name} cannot be read ({first_line(error)})") from error


def _dataset(file: Any, path: Path, inside: str) -> Any:
    if inside:
        found = file.get(inside)
        if isinstance(found, h5py.Dataset):
            return found
        names = _names(file)
        raise InputError(f"{path} has no dataset {inside!r}; it has {', '.join(names) or 'none'}")
    names = _names(file)
    if len(names) != 1:
        listed = ", ".join(names[:12]) + (" ..." if len(names) > 12 else "")
        raise InputError(
            f"{path} holds {len(names)} datasets ({listed}); name one, e.g. {path}/{names[0] if names else 'data'}"
        )
    return file[names[0]]


def _names(file: Any) -> list[str]:
    names: list[str] = []

    def add(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and len(item.shape or ()) >= 2:
            names.append(name)

    file.visititems(add)
    return names


def _described(dataset: Any) -> tuple[str | None, dict[str, float]]:
    """Axes and micrometres by axis letter, as far as the dataset tells them."""
    axes, sizes = tagged(dataset.attrs, dataset.ndim)
    if axes is None:
        labels = [dimension.label.lower() for dimension in dataset.dims]
        axes = "".join(labels) if labels and all(label in tuple("tczyx") for label in labels) else None
    elements = np.ravel(dataset.attrs.get("element_size_um", ())).tolist()
    if elements and axes is None and len(elements) == dataset.ndim and len(elements) in (2, 3):
        axes = "zyx"[-len(elements) :]
    return axes, sizes | {a: float(v) for a, v in zip("zyx"[-len(elements) :], elements) if v > 0}


def tagged(attributes: Mapping[str, Any], ndim: int) -> tuple[str | None, dict[str, float]]:
    """Axes and micrometres by axis letter, as ilastik notes them with a dataset of `ndim` axes."""
    try:
        tags = json.loads(attributes["axistags"])["axes"]
        units = json.loads(attributes.get("axis_units", "{}"))
        axes = "".join(str(tag["key"]) for tag in tags)
    except (KeyError, ValueError, TypeError, RecursionError):
        return None, {}
    if len(axes) != ndim or not set(axes) <= set("tczyx"):
        return None, {}
    sizes = {}
    for tag in tags:
        unit = units.get(tag["key"], "um") if isinstance(units, dict) else "um"
        size = to_um(float(tag.get("resolution") or 0), unit)
        if tag["key"] in "zyx" and size is not None:
            sizes[tag["key"]] = size
    return axes, sizes


def _channel_names(dataset: Any) -> list[str]:
    names = np.ravel(dataset.attrs.get("channel_names", ())).tolist()
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]
