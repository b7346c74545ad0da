"""Segmentations from files: the classes of pixels as numbers, with the names and colours of classes where the file tells them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brushwork.image import ArrayImage
from brushwork.io.stored import Stored, is_zarr, one_level, settle


@dataclass(frozen=True, eq=False)
class Segmentation:
    """classes, colors : names and "RRGGBB" of the values 1, 2, ...; () where the file does not tell them."""

    image: ArrayImage
    classes: tuple[str, ...] = ()
    colors: tuple[str, ...] = ()


def read_segmentation(
    stored: Stored,
    uri: str,
    axes: str | None,
    level: int | str | None,
    pixel_size: Sequence[float] | None,
    like: str | None,
) -> Segmentation:
    """The segmentation that a file holds; of a picture with a palette, its numbers."""
    if stored.palette is not None:
        stored = one_level(stored.palette, "yx")
    image = settle(stored, uri, axes=axes, level=level, pixel_size=pixel_size, like=like)
    if Path(uri).is_dir() and is_zarr(Path(uri)):
        classes, colors = _image_label(uri)
        return Segmentation(image, classes, colors)
    return Segmentation(image, stored.channel_names if "c" not in image.axes else ())


def _image_label(uri: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(names, colours) of the values from 1 on, as far as an OME-Zarr tells all up to the highest one."""
    from brushwork.io.zarr import Folder

    folder = Folder(uri)
    attributes = (folder.json("zarr.json") or {}).get("attributes") or folder.json(".zattrs") or {}
    label = attributes.get("ome", attributes).get("image-label") or {}
    names = {
        entry.get("label-value"): str(entry.get("class")) for entry in label.get("properties") or [] if "class" in entry
    }
    colors = {entry.get("label-value"): _hex(entry.get("rgba")) for entry in label.get("colors") or []}
    return _from_one(names), _from_one(colors)


def _from_one(told: dict[Any, str]) -> tuple[str, ...]:
    values = range(1, len(told) + 1 - (0 in told))
    return tuple(told[v] for v in values) if all(told.get(v) for v in values) else ()


def _hex(rgba: Any) -> str:
    """ "RRGGBB" of four numbers, "" of anything else."""
    is_color = isinstance(rgba, list) and len(rgba) == 4 and all(isinstance(v, int) and 0 <= v < 256 for v in rgba)
    return bytes(rgba[:3]).hex().upper() if is_color else ""
