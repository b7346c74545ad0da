"""Images and labels from files, and volumes into files: the doors. One module per format lies behind them.

    open_image, open_labels     any readable file, lazily
    open_segmentation           the class of every pixel, with the names of classes
    write_image, export         any image, streamed into OME-Zarr, TIFF, HDF5, NIfTI, npy or PNG
    write_labels                painted pixels, into what other programs paint with
    OmeZarrStore, Layout        an output that is written block by block

The order of axes is settled here (`stored.settle`) and nowhere else.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from brushwork.errors import InputError, unknown
from brushwork.image import ArrayImage, Image
from brushwork.io.layout import Layout, layout_of
from brushwork.io.stored import Level, Stored, is_image_folder, is_n5, is_zarr, settle, suffix_of
from brushwork.io.wrong import looks_like, missing

if TYPE_CHECKING:
    from brushwork.io.label_writers import write_labels
    from brushwork.io.ome_zarr import OmeZarrStore
    from brushwork.io.segmentations import Segmentation
    from brushwork.io.writers import WRITERS, export, write_image
    from brushwork.labels import Labels

__all__ = [
    "READERS",
    "WRITERS",
    "Layout",
    "Level",
    "OmeZarrStore",
    "Reader",
    "Stored",
    "export",
    "image_levels",
    "is_image_folder",
    "label_values",
    "layout_of",
    "open_image",
    "open_labels",
    "open_segmentation",
    "readers",
    "write_image",
    "write_labels",
]

Uri = str | os.PathLike[str]
Reader = Callable[[str], Stored]

LATER = {
    "OmeZarrStore": "ome_zarr",
    "export": "writers",
    "write_image": "writers",
    "WRITERS": "writers",
    "write_labels": "label_writers",
}


def __getattr__(name: str) -> Any:
    """What writes is imported when it is first asked for."""
    if name in LATER:
        return getattr(import_module(f"brushwork.io.{LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _format(module: str) -> Reader:
    """The reader of a format; its module, and the library below it, are loaded when it first reads."""

    def read(uri: str) -> Stored:
        return import_module(f"brushwork.io.{module}").read(uri)

    return read


READERS: dict[str, Reader] = {
    **dict.fromkeys((".tif", ".tiff", ".btf", ".tf8", ".svs"), _format("tiff")),
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".bmp"), _format("raster")),
    **dict.fromkeys((".npy", ".npz"), _format("numpy_files")),
    **dict.fromkeys((".h5", ".hdf5", ".hdf"), _format("hdf5")),
    **dict.fromkeys((".nii", ".nii.gz"), _format("nifti")),
    ".zarr": _format("zarr"),
    ".n5": _format("n5"),
    **dict.fromkeys(("http", "https", "s3", "gs"), _format("zarr")),
}
FOLDER: Reader = _format("planes")
INSIDE = (".h5", ".hdf5", ".hdf", ".npz", ".zarr", ".n5")  # a path may go on inside these


def readers() -> dict[str, Reader]:
    """Readers by suffix (".tif") or scheme ("s3"): ours and those of entry points in the group `brushwork.readers`."""
    return _installed() | READERS


@cache
def _installed() -> dict[str, Reader]:
    def later(entry: EntryPoint) -> Reader:
        return lambda uri: entry.load()(uri)

    return {entry.name: later(entry) for entry in entry_points(group="brushwork.readers")}


def open_image(
    uri: Uri | Sequence[Uri],
    *,
    axes: str | None = None,
    level: int | str | None = None,
    pixel_size: Sequence[float] | None = None,
    like: str | None = None,
) -> ArrayImage:
    """Open an image without reading its pixels.

    Parameters
    ----------
    uri : a file, a path inside one (`file.h5/data`, `image.zarr/0`), a folder of planes, a pattern of planes or of arrays inside
        files (`file.h5/plane_*`), several paths, or a URL of a zarr.
    axes : letters of "tczyx", one per axis of the file; overrides what the file says.
    level : of a pyramid, by name or number; 0 is the finest.
    pixel_size : micrometres per spatial axis, overrides the file's; of a pyramid without `level` it chooses the nearest level.
    like : axes of the training image, used where the file does not tell its own.

    Raises
    ------
    InputError
        where there is no such file, it cannot be read, or its axes are not known.
    """
    stored, name = _stored(uri)
    return settle(stored, name, axes=axes, level=level, pixel_size=pixel_size, like=like)


def image_levels(uri: Uri) -> list[tuple[str, tuple[int, ...], dict[str, float]]]:
    """Of each resolution in a file: its name, the shape as stored, and micrometres by axis letter."""
    stored, _ = _stored(uri)
    return [(level.name, tuple(level.open().shape), dict(level.pixel_size)) for level in stored.levels]


def open_labels(
    uri: Uri | Sequence[Uri],
    image: Image,
    *,
    mapping: Mapping[int, int] | None = None,
    offset: Sequence[int] | None = None,
) -> "Labels":
    """Read the painted pixels that a label image stores for `image`.

    Parameters
    ----------
    uri : any readable image, of the shape of `image` unless `offset` is given; 0 is unpainted.
    mapping : value in the file -> class, 0 to leave it out; without it the values are the classes.
    offset : pixels along the spatial axes; where in `image` the first pixel of a smaller label image lies.

    Raises
    ------
    InputError
        where the shapes differ or a value is no class.
    """
    from brushwork.io.label_files import read_labels

    stored, name = _stored(uri)
    return read_labels(stored, name, image, mapping, offset)


def open_segmentation(
    uri: Uri | Sequence[Uri],
    *,
    axes: str | None = None,
    level: int | str | None = None,
    pixel_size: Sequence[float] | None = None,
    like: str | None = None,
) -> "Segmentation":
    """Open an image of classes without reading its pixels, as `open_image` does; with names and colours where the file has them."""
    from brushwork.io.segmentations import read_segmentation

    stored, name = _stored(uri)
    return read_segmentation(stored, name, axes, level, pixel_size, like)


def label_values(uri: Uri | Sequence[Uri]) -> dict[int, int]:
    """How many pixels of a label image hold each value but 0; raises InputError where the values are no whole numbers from 0."""
    from brushwork.io.label_files import values_in

    return values_in(*_stored(uri))


def _stored(uri: Uri | Sequence[Uri]) -> tuple[Stored, str]:
    """What `uri` holds, and its name in messages."""
    if hasattr(uri, "shape"):
        raise InputError(
            "an array was given where a file is wanted; use as_image(array) for images, labels.from_array for labels"
        )
    if not isinstance(uri, (str, os.PathLike)):
        paths = [_local(os.fspath(entry)) for entry in uri]
        if not paths:
            raise InputError("no file was given")
        if len(paths) == 1:
            return _stored(paths[0])
        from brushwork.io.planes import read_paths

        return read_paths(paths), f"{paths[0]} ... {Path(paths[-1]).name}"
    name = _local(os.fspath(uri))
    return _reader_of(name)(name), name


def _local(uri: str) -> str:
    """`uri` with ~ expanded and file:// removed."""
    if uri.startswith("file://"):
        uri = unquote(uri.removeprefix("file://").removeprefix("localhost"))
        uri = uri[1:] if re.match(r"/[A-Za-z]:", uri) else uri
    return os.path.expanduser(uri)


def _reader_of(name: str) -> Reader:
    scheme = re.match(r"([a-z][a-z0-9+]+)://", name)
    if scheme:
        known = {key: reader for key, reader in readers().items() if not key.startswith(".")}
        if scheme[1] not in known:
            raise unknown(f"kind of address in {name}:", scheme[1], [*known, "file"])
        return known[scheme[1]]
    path = Path(name)
    if path.is_dir():
        return _reader_of_folder(path)
    if not path.exists():
        return _reader_of_absent(path, name)
    return _by_suffix(path)


def _reader_of_folder(path: Path) -> Reader:
    if is_zarr(path):
        return READERS[".zarr"]
    if is_n5(path):
        return READERS[".n5"]
    return readers().get(path.suffix.lower(), FOLDER)


def _reader_of_absent(path: Path, name: str) -> Reader:
    """A glob, or a path that goes on inside a file."""
    is_pattern = re.search(r"[*?\[]", name) is not None
    for parent in path.parents:
        suffix = parent.suffix.lower()
        if parent.exists() and suffix in INSIDE and (parent.is_file() or suffix in (".zarr", ".n5")):
            return FOLDER if is_pattern else _by_suffix(parent)
    if is_pattern:
        return FOLDER
    if re.search(r"\.(tiff?|btf|tf8|svs)#\d+$", name, re.IGNORECASE) and Path(name.rpartition("#")[0]).exists():
        return READERS[".tif"]
    raise missing(path)


def _by_suffix(path: Path) -> Reader:
    known = readers()
    suffix = suffix_of(path, known)
    if suffix in known:
        return known[suffix]
    suffixes = ", ".join(key for key in known if key.startswith("."))
    if not suffix:
        raise InputError(
            f"{path} has no suffix that tells its format (it looks like {looks_like(path)}); known are {suffixes}"
        )
    raise InputError(
        f"{path}: images that end in {suffix} are not known (it looks like {looks_like(path)}); known are {suffixes}"
    )
