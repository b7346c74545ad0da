"""Any image into one file (TIFF, HDF5, NIfTI, npy, PNG) or an OME-Zarr: streamed, written aside, renamed when complete."""

import gzip
import json
import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from brushwork.blocks import Region, grid, whole
from brushwork.errors import InputError
from brushwork.image import ArrayImage, Image
from brushwork.io.aside import PatientFile, refuse_existing, remove, written_aside
from brushwork.io.layout import Layout, layout_of
from brushwork.io.ome_zarr import OmeZarrStore, Progress
from brushwork.io.sources import CACHE_BYTES, Mapped
from brushwork.io.stored import suffix_of

SLAB_BYTES = 64 << 20
BIG_TIFF = int(3.9e9)
TILE = 512

Writer = Callable[[Image, Path, Layout, "Progress | None", bool], tuple[Path, ...]]


def write_image(
    image: Image,
    path: str | os.PathLike[str],
    *,
    layout: Layout | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> tuple[Path, ...]:
    """Write an image in the format that the suffix names; the values keep their type.

    Parameters
    ----------
    path : ends in .zarr (OME-Zarr 0.5 with a pyramid), .tif, .tiff, .h5, .hdf5, .nii, .nii.gz, .npy or .png.
    layout : names, colours and kind of the output; without it, those of the image.
    progress : called with the pieces done and their number.

    Returns
    -------
    The files or folders that were written; PNG makes one per channel.

    Raises
    ------
    InputError, RunError
        where the output exists, cannot be written or the format cannot hold it; no partial file is left.
    """
    path = Path(path)
    layout = layout or layout_of(image)
    check_layout(path, layout)
    _check_same(image, layout)
    return WRITERS[suffix_of(path, WRITERS)](image, path, layout, progress, overwrite)


def check_layout(path: Path, layout: Layout) -> None:
    """Raise InputError where the format that the suffix of `path` names is unknown or cannot hold such an image."""
    suffix = suffix_of(path, WRITERS)
    if suffix not in WRITERS:
        raise InputError(
            f"{path}: images cannot be written as {path.suffix or 'a file without suffix'}; known are {', '.join(WRITERS)}"
        )
    if suffix in CHECKS:
        CHECKS[suffix](layout)


def files_of(path: Path, layout: Layout) -> tuple[Path, ...]:
    """The files or folders that an image of `layout` is written to: `path`, or of several channels as PNG, one for each."""
    if path.suffix.lower() != ".png" or layout.n_channels == 1 or _is_colour(layout):
        return (path,)
    return channel_files(path, layout.channel_names)


def channel_files(path: Path, channels: Sequence[str]) -> tuple[Path, ...]:
    """The files in which PNG keeps several channels."""
    return tuple(path.with_name(f"{path.stem}_{name}{path.suffix}") for name in safe_names(channels))


def safe_names(channels: Sequence[str]) -> tuple[str, ...]:
    """Names of channels as they may stand in names of files; numbered where they would meet."""
    names = [re.sub(r"[^\w.-]+", "_", channel) for channel in channels]
    if len(set(names)) < len(names):
        names = [f"{i}_{name}" for i, name in enumerate(names, start=1)]
    return tuple(names)


def _is_colour(layout: Layout) -> bool:
    return layout.kind == "image" and layout.n_channels == 3 and layout.dtype == np.uint8


def export(
    image: Image,
    path: str | os.PathLike[str],
    layout: Layout | None = None,
    progress: Progress | None = None,
    *,
    overwrite: bool = False,
) -> tuple[Path, ...]:
    """`write_image` for what other programs read as one file: TIFF, HDF5, npy, PNG."""
    if Path(path).suffix.lower() == ".zarr":
        raise InputError(
            f"{path} is an OME-Zarr, which needs no export; give a name that ends in .tif, .h5, .npy or .png"
        )
    return write_image(image, path, layout=layout, progress=progress, overwrite=overwrite)


def _check_same(image: Image, layout: Layout) -> None:
    given = (image.shape, len(image.channel_names), image.n_frames)
    wanted = (layout.shape, layout.n_channels, layout.n_frames)
    if given != wanted:
        raise InputError(f"the image has (shape, channels, frames) {given} but the output was laid out for {wanted}")
    if image.dtype != layout.dtype and not np.can_cast(image.dtype, np.dtype(layout.dtype), "same_kind"):
        raise InputError(
            f"the image holds {image.dtype}; writing it as {layout.dtype} would lose values; convert it first"
        )


def pixels_of(image: Image, region: Region, dtype: np.dtype) -> NDArray:
    """(c, *spatial) of a region, of `dtype`."""
    if isinstance(image, ArrayImage):
        return np.ascontiguousarray(image.stored(region)).astype(dtype, copy=False)
    pixels = image.read(region)
    return (np.rint(pixels) if dtype.kind in "iu" else pixels).astype(dtype, copy=False)


# ---------------------------------------------------------------- pieces


def slabs(layout: Layout, t: int) -> Iterator[Region]:
    """Regions of whole rows that cover a frame in storage order: some whole planes each, or bands of one plane."""
    for group in plane_groups(layout, t):
        if _fits(layout, group):
            yield group
        else:
            yield from _bands(layout, group)


def plane_groups(layout: Layout, t: int) -> Iterator[Region]:
    """Regions of whole planes that cover a frame: as many as fit, at least one."""
    if len(layout.shape) == 2:
        yield whole(layout.shape, t)
        return
    plane = Region((0, 0, 0), (1, *layout.shape[1:]))
    step = max(1, min(SLAB_BYTES // _bytes(layout, plane), layout.chunk[0]))
    yield from grid(whole(layout.shape, t), (step, *layout.shape[1:]))


def _bytes(layout: Layout, region: Region) -> int:
    return region.size * layout.n_channels * np.dtype(layout.dtype).itemsize


def _fits(layout: Layout, region: Region) -> bool:
    return _bytes(layout, region) <= SLAB_BYTES


def _bands(layout: Layout, plane: Region) -> Iterator[Region]:
    """A plane in bands of the height of a tile."""
    yield from grid(plane, (*(1 for _ in layout.shape[:-2]), TILE, layout.shape[-1]))


def _pieces(image: Image, layout: Layout, progress: Progress | None) -> Iterator[tuple[Region, NDArray]]:
    regions = [region for t in range(layout.n_frames) for region in slabs(layout, t)]
    for done, region in enumerate(regions, start=1):
        yield region, pixels_of(image, region, np.dtype(layout.dtype))
        if progress is not None:
            progress(done, len(regions))


# ---------------------------------------------------------------- formats


def _write_zarr(
    image: Image, path: Path, layout: Layout, progress: Progress | None, overwrite: bool
) -> tuple[Path, ...]:
    layout = layout if layout.name else replace(layout, name=path.name.removesuffix(".zarr").removesuffix(".ome"))
    with written_aside(path, overwrite=overwrite) as aside:
        store = OmeZarrStore.create(aside, layout, final=path)
        regions, done = list(store.task_regions()), 0
        for row in _rows_of_shards(regions):
            with _at_hand(image, layout, row, aside) as near:
                for region in row:
                    store.write(region, pixels_of(near, region, np.dtype(layout.dtype)))
                    done += 1
                    if progress is not None:
                        progress(done, len(regions))
        store.build_pyramid()
    return (path,)


def _rows_of_shards(regions: list[Region]) -> Iterator[list[Region]]:
    """Shards that lie in the same planes."""
    for _, row in groupby(regions, key=lambda region: (region.t, region.start[0])):
        yield list(row)


@contextmanager
def _at_hand(image: Image, layout: Layout, row: list[Region], aside: Path) -> Iterator[Image]:
    """`image`, or its planes in a scratch file where every shard of the row would decode whole planes again."""
    source = getattr(image, "source", None)
    planes = Region((row[0].start[0], *(0 for _ in layout.shape[1:])), (row[0].stop[0], *layout.shape[1:]), row[0].t)
    if (
        len(layout.shape) == 2
        or len(row) == 1
        or not getattr(source, "by_plane", False)
        or _bytes(layout, planes) <= CACHE_BYTES
    ):
        yield image
        return
    scratch, dtype = aside / "planes.partial", np.dtype(layout.dtype)
    try:
        with scratch.open("wb") as file:  # as large as the frame, but only these planes of it take room
            file.truncate(layout.nbytes // layout.n_frames)
            for part in slabs(layout, planes.t):
                if planes.start[0] <= part.start[0] < planes.stop[0]:
                    _put(file, layout, replace(part, t=0), pixels_of(image, part, dtype))
        stored = Mapped(scratch, dtype, (layout.n_channels, *layout.shape), 0)
        yield ArrayImage(stored, "czyx", image.uri, image.channel_names)
    finally:
        remove(scratch)


def _write_npy(
    image: Image, path: Path, layout: Layout, progress: Progress | None, overwrite: bool
) -> tuple[Path, ...]:
    dtype = np.dtype(layout.dtype)
    with written_aside(path, overwrite=overwrite) as aside, aside.open("wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": layout.array_shape}
        np.lib.format.write_array_header_1_0(file, header)
        begin = file.tell()
        for region, pixels in _pieces(image, layout, progress):
            _put(file, layout, region, pixels, begin)
    return (path,)


def _put(file: BinaryIO, layout: Layout, region: Region, pixels: NDArray, begin: int = 0) -> None:
    """Write whole rows to their place in an array. Not through a map: a full disk is an error then, not a crash."""
    plane, itemsize = math.prod(layout.shape), np.dtype(layout.dtype).itemsize
    first = int(np.ravel_multi_index(region.start, layout.shape))
    for channel, values in enumerate(pixels):
        at = (region.t * layout.n_channels + channel) * plane + first
        file.seek(begin + at * itemsize)
        file.write(np.ascontiguousarray(values).tobytes())


def _write_hdf5(
    image: Image, path: Path, layout: Layout, progress: Progress | None, overwrite: bool
) -> tuple[Path, ...]:
    """Dataset "data" with the channel last, as ilastik has it, and gzip, which every HDF5 library reads."""
    import h5py

    layout = _portable(layout)
    axes = "t" * layout.has_time + layout.spatial_axes + "c" * layout.has_channels
    lengths = dict(zip(layout.axes, layout.array_shape))
    chunk = dict(zip(layout.spatial_axes, layout.chunk))
    with (
        written_aside(path, overwrite=overwrite) as aside,
        PatientFile(aside) as disk,
        h5py.File(disk, "w") as file,
    ):
        data = file.create_dataset(
            "data",
            [lengths[a] for a in axes],
            layout.dtype,
            chunks=tuple(chunk.get(a, 1) for a in axes),
            compression="gzip",
            compression_opts=1,
        )
        _describe_hdf5(data, layout, axes)
        for region, pixels in _pieces(image, layout, progress):
            key = (region.t,) * layout.has_time + region.slices
            data[key] = np.moveaxis(pixels, 0, -1) if layout.has_channels else pixels[0]
            disk.check()
        file.close()
        disk.check()
    return (path,)


def _write_nifti(
    image: Image, path: Path, layout: Layout, progress: Progress | None, overwrite: bool
) -> tuple[Path, ...]:
    """Channels, then frames, then planes, one after the other; of several channels the image is read once for each."""
    from brushwork.io.nifti import header_bytes

    layout = _portable(layout)
    planes = (1,) * (3 - len(layout.shape)) + layout.shape
    sizes = layout.pixel_size and (layout.pixel_size[:1] * (3 - len(layout.shape)) + layout.pixel_size)
    extent = (*planes[::-1], layout.n_frames, layout.n_channels)
    while len(extent) > 3 and extent[-1] == 1:
        extent = extent[:-1]
    regions = [region for t in range(layout.n_frames) for region in slabs(layout, t)]
    with written_aside(path, overwrite=overwrite) as aside, ExitStack() as stack:
        file: Any = stack.enter_context(aside.open("wb"))
        if path.suffix.lower() == ".gz":
            file = stack.enter_context(gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0))
        file.write(header_bytes(extent, layout.dtype, sizes))
        for channel in range(layout.n_channels):
            for done, region in enumerate(regions, start=1 + channel * len(regions)):
                file.write(np.ascontiguousarray(pixels_of(image, region, np.dtype(layout.dtype))[channel]))
                if progress is not None:
                    progress(done, len(regions) * layout.n_channels)
    return (path,)


def _portable(layout: Layout) -> Layout:
    """Yes and no as 1 and 0: what other programs read."""
    return replace(layout, dtype=np.uint8) if layout.dtype == np.bool_ else layout


def _describe_hdf5(data: Any, layout: Layout, axes: str) -> None:
    sizes = dict(zip(layout.spatial_axes, layout.pixel_size or ()))
    flags = {"c": 1, "t": 8}
    tags = [{"key": a, "typeFlags": flags.get(a, 2), "resolution": sizes.get(a, 0), "description": ""} for a in axes]
    attributes = data.attrs
    attributes["axistags"] = json.dumps({"axes": tags})
    attributes["channel_names"] = list(layout.channel_names)
    if layout.pixel_size is not None:
        attributes["element_size_um"] = [sizes.get(a, 1.0) for a in "zyx"]


def _write_tiff(
    image: Image, path: Path, layout: Layout, progress: Progress | None, overwrite: bool
) -> tuple[Path, ...]:
    """OME-TIFF: tiled, deflate, planes in the order z, c, so that every slab is read once."""
    import tifffile

    axes = "t" * layout.has_time + ("z" if len(layout.shape) == 3 else "") + "c" * layout.has_channels + "yx"
    lengths = dict(zip(layout.axes, layout.array_shape))
    tile = tuple(min(TILE, -(-n // 16) * 16) for n in layout.shape[-2:])
    layout = _portable(layout)
    with written_aside(path, overwrite=overwrite) as aside:
        tifffile.imwrite(
            aside,
            _tiles(image, layout, tile, progress),
            shape=tuple(lengths[a] for a in axes),
            dtype=layout.dtype,
            bigtiff=layout.nbytes > BIG_TIFF,
            ome=True,
            tile=tile,
            compression="zlib",
            photometric="minisblack",
            metadata=_ome_metadata(layout, axes),
        )
    return (path,)


def _ome_metadata(layout: Layout, axes: str) -> dict:
    metadata: dict = {"axes": axes.upper()}
    if layout.has_channels:
        metadata["Channel"] = {"Name": list(layout.channel_names), "Color": [_ome_color(c) for c in layout.colors]}
    for letter, size in zip(layout.spatial_axes.upper(), layout.pixel_size or ()):
        metadata |= {f"PhysicalSize{letter}": size, f"PhysicalSize{letter}Unit": "µm"}
    return metadata


def _ome_color(color: str) -> int:
    """Red, green, blue, alpha in one signed number of 32 bits."""
    return int.from_bytes(bytes([*bytes.fromhex(color), 255]), "big", signed=True)


def _tiles(image: Image, layout: Layout, tile: tuple[int, ...], progress: Progress | None) -> Iterator[NDArray]:
    """The tiles of all pages, in the order in which they are stored."""
    groups = [group for t in range(layout.n_frames) for group in plane_groups(layout, t)]
    for done, group in enumerate(groups, start=1):
        for number, rows in enumerate(_pages(image, layout, group)):
            if (
                progress is not None and number == 0
            ):  # tifffile asks for no more than the last tile: "after it" never comes
                progress(done, len(groups))
            yield from _cut(rows, tile)


def _pages(image: Image, layout: Layout, group: Region) -> Iterator[NDArray]:
    """The pages of a group of planes as (rows, x): whole, or where one is too large, in bands that are read per channel."""
    dtype = np.dtype(layout.dtype)
    if _fits(layout, group):
        pixels = pixels_of(image, group, dtype).reshape(layout.n_channels, -1, *layout.shape[-2:])
        yield from (channel for plane in pixels.swapaxes(0, 1) for channel in plane)
        return
    for channel in range(layout.n_channels):
        for band in _bands(layout, group):
            yield pixels_of(image, band, dtype)[channel].reshape(-1, layout.shape[-1])


def _cut(plane: NDArray, tile: tuple[int, ...]) -> Iterator[NDArray]:
    for y in range(0, plane.shape[0], tile[0]):
        for x in range(0, plane.shape[1], tile[1]):
            yield plane[y : y + tile[0], x : x + tile[1]]


def _write_png(
    image: Image, path: Path, layout: Layout, progress: Progress | None, overwrite: bool
) -> tuple[Path, ...]:
    """One picture, or one per channel; a segmentation is a palette of class colours whose indices are the classes."""
    pixels = pixels_of(image, whole(layout.shape), np.dtype(layout.dtype))
    pictures = _pictures(pixels, path, layout)
    for target in pictures:
        refuse_existing(target, overwrite)
    with ExitStack() as stack:
        for done, (target, picture) in enumerate(pictures.items(), start=1):
            aside = stack.enter_context(written_aside(target, overwrite=overwrite))
            picture.save(aside, format="PNG")
            if progress is not None:
                progress(done, len(pictures))
    return tuple(pictures)


def _pictures(pixels: NDArray, path: Path, layout: Layout) -> dict[Path, Any]:
    from PIL import Image as Pillow

    files = files_of(path, layout)
    if _is_colour(layout):
        return {path: Pillow.fromarray(np.ascontiguousarray(np.moveaxis(pixels, 0, -1)))}
    pictures = {file: Pillow.fromarray(plane) for file, plane in zip(files, pixels)}
    if layout.kind == "segmentation" and layout.dtype == np.uint8:
        pictures[path].putpalette(b"\0\0\0" + b"".join(bytes.fromhex(color) for color in layout.colors))
    return pictures


def _check_png(layout: Layout) -> None:
    if len(layout.shape) != 2 or layout.n_frames > 1:
        raise InputError(
            f"PNG holds one plane; {layout.axes} of {layout.array_shape} needs .tif, .h5, .npy or .ome.zarr"
        )
    if np.dtype(layout.dtype).name not in ("bool", "uint8", "uint16"):
        instead = "" if layout.kind == "features" else "choose uint8 or uint16 (--dtype), or "
        raise InputError(
            f"PNG holds whole numbers of 8 or 16 bits, not {layout.dtype}; {instead}write .tif, .h5, .npy or .ome.zarr"
        )


def _check_tiff(layout: Layout) -> None:
    if np.dtype(layout.dtype).name in ("int64", "uint64", "float16"):
        raise InputError(
            f"TIFF cannot hold {layout.dtype} for other programs; write .h5, .npy or .ome.zarr, or choose another type"
        )


def _check_nifti(layout: Layout) -> None:
    if layout.dtype == np.float16:
        raise InputError("NIfTI cannot hold float16; write .h5, .npy or .ome.zarr, or choose another type")


CHECKS: dict[str, Callable[[Layout], None]] = {
    ".png": _check_png,
    **dict.fromkeys((".tif", ".tiff"), _check_tiff),
    **dict.fromkeys((".nii", ".nii.gz"), _check_nifti),
}
WRITERS: dict[str, Writer] = {
    ".zarr": _write_zarr,
    **dict.fromkeys((".tif", ".tiff"), _write_tiff),
    **dict.fromkeys((".h5", ".hdf5"), _write_hdf5),
    **dict.fromkeys((".nii", ".nii.gz"), _write_nifti),
    ".npy": _write_npy,
    ".png": _write_png,
}
