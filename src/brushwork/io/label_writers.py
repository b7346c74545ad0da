"""Painted pixels into files that other programs paint with: NIfTI, TIFF, HDF5, GeoJSON."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brushwork.errors import InputError
from brushwork.image import ArrayImage, Image
from brushwork.io import geojson
from brushwork.io.aside import written_aside
from brushwork.io.layout import PALETTE, Layout
from brushwork.io.sources import full_key
from brushwork.io.stored import suffix_of
from brushwork.io.writers import BIG_TIFF, WRITERS, write_image
from brushwork.labels import Labels

SUFFIXES = (geojson.SUFFIXES[0], *WRITERS)


class Painted:
    """Painted pixels as an array of class numbers, 0 where there are none; made piece by piece as it is sliced."""

    dtype = np.dtype(np.uint8)

    def __init__(self, labels: Labels, n_frames: int) -> None:
        self.shape = (n_frames, *labels.shape) if labels.has_time else labels.shape
        order = np.argsort(np.ravel_multi_index(tuple(labels.coords.T), self.shape))
        self._coords, self._classes = labels.coords[order], labels.classes[order]

    def __getitem__(self, key: Any) -> NDArray[np.uint8]:
        wanted = full_key(key, len(self.shape))
        spans = [range(n)[k] if isinstance(k, slice) else range(k, k + 1) for k, n in zip(wanted, self.shape)]
        out = np.zeros([len(span) for span in spans], np.uint8)
        begin, end = np.searchsorted(self._coords[:, 0], [spans[0].start, spans[0].stop])
        at = self._coords[begin:end] - [span.start for span in spans]
        inside = ((at >= 0) & (at < out.shape)).all(1)
        out[tuple(at[inside].T)] = self._classes[begin:end][inside]
        return out[tuple(slice(None) if isinstance(k, slice) else 0 for k in wanted)]


def write_labels(
    labels: Labels,
    image: Image,
    path: str | os.PathLike[str],
    *,
    names: Mapping[int, str],
    colors: Mapping[int, str] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the labels of an image for other programs.

    Parameters
    ----------
    image : that the labels are of; its frames and pixel size are noted.
    path : ends in .geojson (QuPath), .nii or .nii.gz (ITK-SNAP), .tif (napari, Fiji), .h5 (ilastik), or as `write_image` takes it.
    names : of every class that is painted. colors : "#rrggbb"; a palette fills in.

    Returns
    -------
    What was written. Pixels hold their class, 0 where nothing is painted; GeoJSON holds the outlines of every stroke.

    Raises
    ------
    InputError, RunError
        where the output exists, cannot be written or the format cannot hold it; no partial file is left.
    """
    path = Path(path)
    if tuple(labels.shape) != tuple(image.shape):
        raise InputError(f"labels of an image of {labels.shape} were given with an image of {image.shape}")
    colors = {k: f"#{PALETTE[(k - 1) % len(PALETTE)]}" for k in names} | dict(colors or {})
    if absent := sorted(set(np.unique(labels.classes).tolist()) - set(names)):
        raise InputError(f"the labels hold the classes {absent} that have no name; name every one")
    suffix = suffix_of(path, SUFFIXES)
    if suffix not in SUFFIXES:
        raise InputError(
            f"{path}: labels cannot be written as {suffix or 'a file without suffix'}; known are {', '.join(SUFFIXES)}"
        )
    if suffix == SUFFIXES[0]:
        geojson.write(labels, path, names, colors, overwrite=overwrite)
        return path
    layout = _layout(labels, image, names, colors)
    painted = Painted(labels, image.n_frames)
    if suffix in (".tif", ".tiff") and layout.nbytes <= BIG_TIFF:
        _write_imagej(painted, path, layout, overwrite)
        return path
    write_image(ArrayImage(painted, layout.axes, image.uri), path, layout=layout, overwrite=overwrite)
    return path


def _layout(labels: Labels, image: Image, names: Mapping[int, str], colors: Mapping[int, str]) -> Layout:
    up_to = range(1, max(names, default=0) + 1)  # classes that were deleted leave gaps
    return Layout(
        labels.shape,
        n_frames=image.n_frames,
        has_time=labels.has_time,
        channel_names=tuple(names.get(k, f"class {k}") for k in up_to),
        colors=tuple(colors.get(k, "#000000") for k in up_to),
        pixel_size=image.pixel_size,
        kind="segmentation",
    )


def _write_imagej(painted: Painted, path: Path, layout: Layout, overwrite: bool) -> None:
    """Pages with ImageJ's own notes about axes and scale, and deflate: ImageJ opens neither tiles nor newer compressions."""
    import tifffile

    metadata: dict[str, Any] = {"axes": layout.axes.upper()}
    sizes = dict(zip(layout.spatial_axes, layout.pixel_size or ()))
    if sizes:
        metadata |= {"unit": "um"} | ({"spacing": sizes["z"]} if "z" in sizes else {})
    planes = np.ndindex(painted.shape[:-2])
    with written_aside(path, overwrite=overwrite) as aside:
        tifffile.imwrite(
            aside,
            (painted[plane] for plane in planes),
            shape=painted.shape,
            dtype=painted.dtype,
            imagej=True,
            photometric="minisblack",
            compression="zlib",
            resolution=(1 / sizes["x"], 1 / sizes["y"]) if sizes else None,
            metadata=metadata,
        )
