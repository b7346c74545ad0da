"""OME-Zarr 0.4 and 0.5 and plain zarr v2 and v3, on disks and servers, through tensorstore."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore as ts

from brushwork.errors import InputError
from brushwork.image import Sliceable
from brushwork.io.stored import ZARR_MARKERS, Level, Stored, is_zarr, one_level
from brushwork.io.units import to_um
from brushwork.io.wrong import first_line

CACHE_BYTES = 64 << 20


@cache
def _context() -> Any:
    return ts.Context({"cache_pool": {"total_bytes_limit": CACHE_BYTES}})


@cache
def _soon() -> Any:
    """For looking whether anything is there: a server that does not answer is told after seconds, not minutes."""
    return ts.Context({"http_request_retries": {"max_retries": 4, "initial_delay": "0.2s", "max_delay": "2s"}})


def kvstore_spec(uri: str) -> Any:
    """Where tensorstore finds the files under `uri`, a path or a URL."""
    if re.match(r"[a-z0-9]+://", uri):
        return uri.rstrip("/") + "/"
    return {"driver": "file", "path": str(Path(uri).absolute()).replace("\\", "/").rstrip("/") + "/"}


class Folder:
    """The JSON documents of a zarr hierarchy, wherever it is stored."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        try:
            self._files = ts.KvStore.open(kvstore_spec(uri), context=_soon()).result()
        except ValueError as error:
            raise InputError(f"{uri} cannot be opened: {first_line(error)}") from error

    def json(self, name: str) -> dict | None:
        try:
            found = self._files.read(name).result()
        except (ValueError, OSError) as error:
            raise InputError(f"{self.uri}/{name} cannot be read: {first_line(error)}") from error
        if found.state != "value":
            return None
        try:
            return json.loads(found.value)
        except ValueError as error:
            raise InputError(f"{self.uri}/{name} is damaged: it is no JSON ({error})") from error


def read(uri: str) -> Stored:
    """What a zarr array, or a group with OME metadata, holds."""
    folder = Folder(uri)
    document = folder.json("zarr.json")
    if document is not None and document.get("node_type") == "array":
        return _plain(uri, document.get("dimension_names"))
    if document is None and folder.json(".zarray") is not None:
        return _plain(uri, (folder.json(".zattrs") or {}).get("_ARRAY_DIMENSIONS"))
    attributes = document.get("attributes", {}) if document is not None else folder.json(".zattrs")
    if attributes is None and folder.json(".zgroup") is None:
        raise InputError(f"{uri} is no zarr: it has none of {', '.join(ZARR_MARKERS)}")
    attributes = attributes or {}
    ome = attributes.get("ome", attributes)
    if ome.get("multiscales"):
        return _multiscale(uri, ome)
    if "bioformats2raw.layout" in ome:
        return read(uri.rstrip("/") + "/0")
    raise _no_image(uri, ome)


def _no_image(uri: str, ome: Mapping) -> InputError:
    wells = [well.get("path") for well in ome.get("plate", {}).get("wells", [])]
    if wells:
        return InputError(f"{uri} is a plate of {len(wells)} wells; give one image of it, e.g. {uri}/{wells[0]}/0")
    path = Path(uri)
    below = sorted(p.name for p in path.iterdir() if p.is_dir() and is_zarr(p)) if path.is_dir() else []
    hint = f"; give one of what it contains: {', '.join(below[:12])}" if below else ""
    return InputError(f"{uri} is a zarr group without an image of its own{hint}")


# ---------------------------------------------------------------- arrays


class ZarrArray:
    """An array of tensorstore's. Chunks of a zarr that were never written read as the fill value; without one they are an error."""

    def __init__(self, store: Any, uri: str) -> None:
        self._store, self._uri = store, uri
        self.shape, self.dtype = tuple(store.shape), store.dtype.numpy_dtype

    def __getitem__(self, key: Any) -> Any:
        try:
            return self._store[key].read().result()
        except (ValueError, OSError) as error:
            raise InputError(f"{self._uri} cannot be read: {first_line(error)}") from error


def open_array(uri: str) -> Sliceable:
    """A zarr array of either version."""
    folder = Folder(uri)
    if folder.json("zarr.json") is not None:
        spec: dict[str, Any] = {"driver": "zarr3"}
    elif (old := folder.json(".zarray")) is not None:
        spec = {"driver": "zarr", "fill_missing_data_reads": old.get("fill_value") is not None}
    else:
        raise InputError(f"{uri} is no zarr array: it has neither zarr.json nor .zarray")
    return ZarrArray(opened(spec, uri), uri)


def opened(spec: Mapping[str, Any], uri: str) -> Any:
    """What tensorstore finds at `uri`. spec : the driver and its options."""
    known = {"kvstore": kvstore_spec(uri), "recheck_cached_data": "open", "recheck_cached_metadata": "open"}
    try:
        return ts.open({**spec, **known}, read=True, open=True, context=_context()).result()
    except (ValueError, OSError) as error:
        raise InputError(f"{uri} cannot be opened: {first_line(error)}") from error


def _plain(uri: str, names: Sequence[str | None] | None) -> Stored:
    letters = [str(name).lower() for name in names or ()]
    known = letters and all(letter in tuple("tczyx") for letter in letters)
    return one_level(open_array(uri), "".join(letters) if known else None)


# ---------------------------------------------------------------- OME metadata


def _multiscale(uri: str, ome: Mapping) -> Stored:
    scales = ome["multiscales"][0]
    names, units = _axes(scales)
    shared = _scale(scales.get("coordinateTransformations"), len(names))
    levels = []
    for dataset in scales["datasets"]:
        scale = _scale(dataset.get("coordinateTransformations"), len(names)) * shared
        sizes = {a: to_um(float(s), unit) for a, unit, s in zip(names, units, scale) if a in "zyx"}
        path = str(dataset["path"])
        known = {axis: size for axis, size in sizes.items() if size is not None}
        levels.append(Level(path, partial(open_array, f"{uri.rstrip('/')}/{path}"), known))
    axes = "".join(names) if all(name in tuple("tczyx") for name in names) else None
    channels = (ome.get("omero") or {}).get("channels") or []
    labels = tuple(str(channel.get("label") or f"channel {i}") for i, channel in enumerate(channels))
    return Stored(tuple(levels), axes, labels)


def _axes(scales: Mapping) -> tuple[list[str], list[str | None]]:
    """Names and units of the axes; before 0.3 there were always five, before 0.4 they had no units."""
    entries = [{"name": a} if isinstance(a, str) else a for a in scales.get("axes") or "tczyx"]
    by_type = {"channel": "c", "time": "t"}
    names = [by_type.get(str(entry.get("type")), str(entry.get("name")).lower()) for entry in entries]
    return names, [entry.get("unit") for entry in entries]


def _scale(transformations: Any, ndim: int) -> np.ndarray:
    scale = np.ones(ndim)
    for entry in transformations or []:
        if entry.get("type") == "scale" and len(entry.get("scale", ())) == ndim:
            scale *= [v if math.isfinite(v) else 1 for v in entry["scale"]]
    return scale
