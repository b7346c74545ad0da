"""The formats of ilastik's results: any array of up to five axes, streamed from a scratch file into what ilastik would write."""

import json
import math
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate, product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brushwork.errors import InputError, unknown
from brushwork.image import AXES
from brushwork.interchange.ilp_writer import axistags
from brushwork.io.aside import PatientFile, partial_name, remove, replace, told, write_error, written_aside
from brushwork.io.sources import Mapped
from brushwork.io.wrong import first_line

SLAB_BYTES = 32 << 20
HDF5_CHUNK_BYTES, ZARR_CHUNK_BYTES = 300_000, 1_024_000
PAGE_AXES = "tzcyx"
SLICE_INDEX = re.compile(r"\{slice_index(?::(\d{0,2}d?))?\}")


Spans = Mapping[str, tuple[int, int]]  # (first, stop) by axis letter


@dataclass(frozen=True, eq=False)
class Volume:
    """A finished result in a scratch file, in the order in which it is to be stored.

    axes : letters of "tczyx", along pixels. start : where it begins in its image, by axis letter.
    sizes : micrometres by axis letter, where they are known. is_classes : the numbers are classes, which have no means.
    drange : the smallest and largest value that it can have, None where that is not known.
    """

    pixels: Mapped = field(repr=False)
    axes: str
    start: Mapping[str, int]
    sizes: Mapping[str, float] = field(default_factory=dict)
    is_classes: bool = False
    drange: tuple[float, float] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.pixels.shape)

    @property
    def dtype(self) -> np.dtype:
        return self.pixels.dtype

    def length(self, axis: str, spans: Mapping[str, tuple[int, int]] = {}) -> int:
        """Pixels along an axis, between (first, stop) of `spans` where it has them."""
        first, stop = spans.get(axis, (0, self.shape[self.axes.index(axis)] if axis in self.axes else 1))
        return stop - first

    def part(self, spans: Spans, order: str) -> NDArray[Any]:
        """Pixels between (first, stop) of the axes in `spans`, all of the others, with axes in `order`.

        Axes that are not in `order` have length 1 there; those that are only in `order` get it.
        """
        pixels = self.pixels[tuple(slice(*spans[a]) if a in spans else slice(None) for a in self.axes)]
        kept = [a for a in self.axes if a in order]
        pixels = pixels.reshape([n for a, n in zip(self.axes, pixels.shape) if a in order])
        present = [a for a in order if a in kept]
        pixels = pixels.transpose([kept.index(a) for a in present])
        lengths = dict(zip(present, pixels.shape))
        return pixels.reshape([lengths.get(a, 1) for a in order])


Check = Callable[[str, tuple[int, ...], np.dtype], None]
Save = Callable[[Volume, Spans, Path], None]


@dataclass(frozen=True)
class Format:
    """extension : of files, without the dot. has_inner : results lie inside the file, under a name of their own.

    check(axes, shape, dtype) raises InputError where such an array cannot be written, check_place(path, inner) where it cannot be
    put there; write(volume, path, inner) returns the files. is_sequence : one file per step along the first axis. order : in which
    axes are written, "" where they are in any.
    """

    extension: str
    check: Check
    write: Callable[[Volume, Path, str], tuple[Path, ...]]
    check_place: Callable[[Path, str], None]
    has_inner: bool = False
    is_sequence: bool = False
    order: str = ""


def format_named(name: str) -> Format:
    """Raises InputError for formats that are unknown or cannot be had."""
    if name in ABSENT:
        raise InputError(f"the output format {name!r} of ilastik is not written here: {ABSENT[name]}")
    if name not in FORMATS:
        raise unknown("output format", name, FORMATS)
    return FORMATS[name]


# ---------------------------------------------------------------- pieces


def chunk_of(axes: str, shape: tuple[int, ...], itemsize: int, limit: int, whole: str = "") -> tuple[int, ...]:
    """Chunks of about `limit` bytes: as long in y and x as in z, 1 along t, and along c unless `whole` names it."""
    along = [a for a, n in zip(axes, shape) if a in "zyx" and n > 1]
    item = itemsize * math.prod(n for a, n in zip(axes, shape) if a in whole)
    edge = max(1, int((limit / item) ** (1 / max(len(along), 1))))
    return tuple(n if a in whole else min(edge, n) if a in "zyx" else 1 for a, n in zip(axes, shape))


def boxes(shape: tuple[int, ...], chunk: tuple[int, ...], itemsize: int) -> Iterator[tuple[slice, ...]]:
    """Boxes of whole chunks that cover an array, as large as SLAB_BYTES allow."""
    edge = list(chunk)
    for axis in reversed(range(len(shape))):
        room = SLAB_BYTES // (math.prod(edge) * itemsize)
        edge[axis] = min(edge[axis] * max(room, 1), -(-shape[axis] // edge[axis]) * edge[axis])
    for first in product(*(range(0, n, e) for n, e in zip(shape, edge))):
        yield tuple(slice(a, min(a + e, n)) for a, e, n in zip(first, edge, shape))


# ---------------------------------------------------------------- arrays


def _anything(axes: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Every array can be written."""


def _above(inner: str) -> list[str]:
    """The groups that a place inside a file lies in, outermost first."""
    return [name.strip("/") for name in accumulate(inner.split("/")[:-1], "{}/{}".format)]


def _check_file(path: Path, inner: str) -> None:
    if path.is_dir():
        raise InputError(f"{path} is a folder, the result is a file; choose another name")


def _check_hdf5(path: Path, inner: str) -> None:
    import h5py

    _check_file(path, inner)
    if not path.exists():
        return
    try:
        with h5py.File(path, "r") as file:
            taken = next((name for name in _above(inner) if isinstance(file.get(name), h5py.Dataset)), None)
            there = file.get(inner)
            is_full = isinstance(there, h5py.Group) and len(there) > 0
    except OSError as error:
        raise InputError(f"{path} is there and is no HDF5 file ({first_line(error)}); choose another name") from None
    if is_full:
        raise InputError(f"{path}/{inner} holds other things than one array; choose another --output_internal_path")
    if taken is not None:
        raise InputError(
            f"{path}/{taken} is an array, so {inner} cannot lie in it; choose another --output_internal_path"
        )


def _check_n5(path: Path, inner: str) -> None:
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file, an N5 container is a folder; choose another name")
    from brushwork.io import n5

    if (path / inner).exists() and not n5.is_dataset(path / inner):
        raise InputError(f"{path / inner} holds other things than one array; choose another --output_internal_path")
    taken = next((path / above for above in _above(inner) if n5.is_dataset(path / above)), None)
    if taken is not None:
        raise InputError(f"{taken} is an array, so {inner} cannot lie in it; choose another --output_internal_path")


def _check_ome_zarr(path: Path, inner: str) -> None:
    if path.exists():
        raise InputError(f"{path} exists already; ilastik replaces no OME-Zarr: remove it, or choose another name")


def _write_hdf5(volume: Volume, path: Path, inner: str, *, compressed: bool) -> tuple[Path, ...]:
    """The dataset `inner`; others that the file has are kept."""
    import h5py

    chunk = chunk_of(volume.axes, volume.shape, volume.dtype.itemsize, HDF5_CHUNK_BYTES, whole="c")
    filters: dict[str, Any] = {"compression": "gzip", "compression_opts": 1} if compressed else {}
    with written_aside(path, overwrite=True) as aside, PatientFile(aside) as disk, h5py.File(disk, "w") as file:
        if path.exists():
            _copy_others(path, file, inner)
        data = file.create_dataset(inner, volume.shape, volume.dtype, chunks=chunk, **filters)
        data.attrs["axistags"] = axistags(volume.axes, volume.sizes)
        if volume.sizes:
            data.attrs["axis_units"] = json.dumps(dict.fromkeys(volume.sizes, "um"))
        if volume.drange is not None:
            data.attrs["drange"] = volume.drange
        for box in boxes(volume.shape, chunk, volume.dtype.itemsize):
            data[box] = volume.pixels[box]
            disk.check()
        file.close()
        disk.check()
    return (path,)


def _copy_others(path: Path, file: Any, inner: str) -> None:
    import h5py

    with h5py.File(path, "r") as old:
        file.attrs.update(old.attrs)
        for name in old:
            link = old.get(name, getlink=True)
            if name == inner:
                continue
            if isinstance(link, h5py.HardLink):
                old.copy(name, file)
            else:  # it may lead nowhere
                file[name] = link
    if inner in file:
        del file[inner]


def _write_npy(volume: Volume, path: Path, inner: str) -> tuple[Path, ...]:
    header = {"descr": np.lib.format.dtype_to_descr(volume.dtype), "fortran_order": False, "shape": volume.shape}
    with (
        written_aside(path, overwrite=True) as aside,
        aside.open("wb") as file,
        volume.pixels.path.open("rb") as pixels,
    ):
        np.lib.format.write_array_header_1_0(file, header)
        shutil.copyfileobj(pixels, file, SLAB_BYTES)
    return (path,)


def _write_n5(volume: Volume, path: Path, inner: str, *, compressed: bool) -> tuple[Path, ...]:
    """The dataset `inner` of a container; others that it has are kept."""
    if not path.exists():
        with written_aside(path) as container:
            container.mkdir()
            (container / "attributes.json").write_text(json.dumps({"n5": "2.0.0"}))
            _fill_n5(volume, container / inner, path, compressed)
        return (path,)
    target = path / inner
    with told(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = partial_name(target)
        try:
            _fill_n5(volume, aside, path, compressed)
            replace(aside, target)
        finally:
            remove(aside)
    return (path,)


def _fill_n5(volume: Volume, folder: Path, path: Path, compressed: bool) -> None:
    """N5 names the fastest axis first."""
    chunk = chunk_of(volume.axes, volume.shape, volume.dtype.itemsize, HDF5_CHUNK_BYTES, whole="c")
    about = {
        "dimensions": volume.shape[::-1],
        "blockSize": chunk[::-1],
        "dataType": volume.dtype.name,
        "compression": {"type": "gzip", "level": 1} if compressed else {"type": "raw"},
        "axes": list(volume.axes[::-1]),
        "axistags": axistags(volume.axes, volume.sizes),
    }
    data = _tensorstore("n5", folder, about, path)
    for box in boxes(volume.shape, chunk, volume.dtype.itemsize):
        _put(data, box[::-1], volume.pixels[box].T, path)


def _tensorstore(driver: str, folder: Path, metadata: dict[str, Any], shown: Path) -> Any:
    import tensorstore as ts

    store = {"driver": "file", "path": str(folder.absolute()).replace("\\", "/") + "/"}
    spec = {"driver": driver, "kvstore": store, "metadata": metadata, "create": True}
    try:
        return ts.open(spec, context=ts.Context({"cache_pool": {"total_bytes_limit": 0}})).result()
    except (ValueError, OSError) as error:
        raise write_error(shown, error) from error


def _put(array: Any, box: tuple[slice, ...], pixels: NDArray[Any], shown: Path) -> None:
    try:
        array[box].write(pixels).result()
    except (ValueError, OSError) as error:
        raise write_error(shown, error) from error


def _write_ome_zarr(volume: Volume, path: Path, inner: str, *, levels: bool) -> tuple[Path, ...]:
    """OME-Zarr 0.4 with the axes t, c, z, y, x; the levels s0, s1, ... where it has several."""
    import tensorstore as ts

    shape = tuple(volume.length(a) for a in AXES)
    chunk = chunk_of(AXES, shape, volume.dtype.itemsize, ZARR_CHUNK_BYTES)
    factors: list[tuple[int, ...]] = [(1, 1, 1, 1, 1)]
    with written_aside(path) as aside:
        data = _tensorstore("zarr", aside / "s0", _zarr(shape, chunk, volume.dtype), path)
        for box in boxes(shape, chunk, volume.dtype.itemsize):
            spans = {a: (s.start, s.stop) for a, s in zip(AXES, box)}
            _put(data, box, volume.part({a: s for a, s in spans.items() if a in volume.axes}, AXES), path)
        while levels and any(n > e for n, e in zip(data.shape[2:], chunk[2:])):
            step = [2 if a in "zyx" and n > 1 else 1 for a, n in zip(AXES, data.shape)]
            trimmed = data[tuple(slice(0, n // k * k) for n, k in zip(data.shape, step))]
            finer = ts.downsample(trimmed, step, "mode" if volume.is_classes else "mean")
            shape = tuple(finer.shape)
            data = _tensorstore("zarr", aside / f"s{len(factors)}", _zarr(shape, chunk, volume.dtype), path)
            for box in boxes(shape, chunk, volume.dtype.itemsize * 8):
                _put(data, box, finer[box].read().result(), path)
            factors.append(tuple(a * b for a, b in zip(factors[-1], step)))
        (aside / ".zgroup").write_text(json.dumps({"zarr_format": 2}))
        (aside / ".zattrs").write_text(json.dumps(_ome(volume, factors), indent=1))
    return (path,)


def _zarr(shape: tuple[int, ...], chunk: tuple[int, ...], dtype: np.dtype) -> dict[str, Any]:
    compressor = {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1}
    return {
        "shape": shape,
        "chunks": tuple(min(a, b) for a, b in zip(shape, chunk)),
        "dtype": dtype.str,
        "compressor": compressor,
        "dimension_separator": "/",
        "fill_value": 0,
        "zarr_format": 2,
    }


def _ome(volume: Volume, factors: list[tuple[int, ...]]) -> dict[str, Any]:
    kinds = {"t": "time", "c": "channel"}
    axes = [{"name": a, "type": kinds.get(a, "space")} for a in AXES]
    for entry in axes:
        if entry["name"] in volume.sizes:
            entry["unit"] = "micrometer"
    datasets = []
    for i, by in enumerate(factors):
        size = [volume.sizes.get(a, 1.0) for a in AXES]
        places = [(volume.start.get(a, 0) if a in "zyx" else 0) + (f - 1) / 2 for a, f in zip(AXES, by)]
        moves: list[dict[str, Any]] = [{"type": "scale", "scale": [s * f for s, f in zip(size, by)]}]
        if any(places):
            moves.append({"type": "translation", "translation": [s * p for s, p in zip(size, places)]})
        datasets.append({"path": f"s{i}", "coordinateTransformations": moves})
    return {"multiscales": [{"version": "0.4", "name": "result", "axes": axes, "datasets": datasets}]}


# ---------------------------------------------------------------- pictures


def _picture_axes(axes: str, shape: tuple[int, ...]) -> str:
    """The two axes of a picture and its channel: those longer than 1, and y and x where there are too few."""
    lengths = dict(zip(axes, shape))
    found = [a for a in axes if a != "c" and lengths[a] > 1]
    for a in "xyzt":
        if len(found) < 2 and a in axes and a not in found:
            found.append(a)
    return "".join(a for a in axes if a in found) + "c" * ("c" in axes)


def _check_picture(axes: str, shape: tuple[int, ...], dtype: np.dtype, *, kind: str) -> None:
    plane = _picture_axes(axes, shape)
    if len(plane.replace("c", "")) != 2:
        several = "multipage tiff, hdf5 or numpy" if kind in ("tif", "tiff") else f"'{kind} sequence', hdf5 or numpy"
        raise InputError(f"{kind} holds one plane, the result has the axes {axes} and is {shape}; write {several}")
    if kind in ("tif", "tiff"):
        return
    channels = dict(zip(axes, shape)).get("c", 1)
    allowed = PICTURES[kind]
    if (dtype.name, channels) not in allowed:
        known = ", ".join(f"{name} with {n} channel{'s' * (n > 1)}" for name, n in allowed)
        raise InputError(
            f"{kind} holds {known}, the result is {dtype} with {channels}: choose --export_dtype (with --pipeline_result_drange "
            "and --export_drange), one channel with --cutout_subregion, or tiff or hdf5"
        )


def _save_picture(volume: Volume, spans: Spans, aside: Path, *, kind: str) -> None:
    """What lies between `spans`."""
    plane = _picture_axes(volume.axes, tuple(volume.length(a, spans) for a in volume.axes))
    n_channels = volume.length("c", spans) if "c" in plane else 1
    order = plane.replace("c", "") + "c" * (n_channels > 1)
    if kind in ("tif", "tiff"):
        colour = n_channels == 3 and volume.dtype.kind == "u"
        more = {"planarconfig": "contig"} if n_channels > 1 else {}
        _save_tiff(volume, spans, order, aside, photometric="rgb" if colour else "minisblack", metadata=None, **more)
        return
    from PIL import Image as Pillow

    Pillow.fromarray(np.ascontiguousarray(volume.part(spans, order))).save(
        aside, format=PILLOW[kind], **({"quality": 100, "subsampling": 0} if PILLOW[kind] == "JPEG" else {})
    )


def _save_tiff(volume: Volume, spans: Spans, order: str, aside: Path, **tags: Any) -> None:
    """What lies between `spans` with axes in `order`, uncompressed, a slab at a time."""
    import tifffile

    shape = tuple(volume.length(a, spans) for a in order)
    big = math.prod(shape) * volume.dtype.itemsize > 3.9e9
    tifffile.imwrite(aside, shape=shape, dtype=volume.dtype, bigtiff=big, **tags)
    with tifffile.TiffFile(aside) as written:
        first = written.pages[0].dataoffsets[0]
    with aside.open("r+b") as file:
        file.seek(first)
        for box in boxes(shape, (1,) * (len(shape) - 1) + shape[-1:], volume.dtype.itemsize):
            begin = {a: spans.get(a, (0, 0))[0] for a in order}
            part = {a: (begin[a] + s.start, begin[a] + s.stop) for a, s in zip(order, box)}
            file.write(np.ascontiguousarray(volume.part({**spans, **part}, order)).data)


def _write_file(volume: Volume, path: Path, inner: str, *, save: Save) -> tuple[Path, ...]:
    with written_aside(path, overwrite=True) as aside:
        save(volume, {}, aside)
    return (path,)


# ---------------------------------------------------------------- pages


def _check_pages(axes: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
    if dtype.name in ("int64", "uint64"):
        raise InputError(f"TIFF cannot hold {dtype} for other programs; write hdf5 or numpy, or choose --export_dtype")


def _save_pages(volume: Volume, spans: Spans, aside: Path) -> None:
    """What lies between `spans` as OME-TIFF with a page for every y-x plane, in the order t, z, c."""
    metadata: dict[str, Any] = {"axes": PAGE_AXES.upper()}
    for axis, size in volume.sizes.items():
        metadata |= {f"PhysicalSize{axis.upper()}": size, f"PhysicalSize{axis.upper()}Unit": "µm"}
    _save_tiff(volume, spans, PAGE_AXES, aside, ome=True, photometric="minisblack", metadata=metadata)


# ---------------------------------------------------------------- sequences


def _step_axis(axes: str, shape: tuple[int, ...]) -> str:
    """A sequence has a file for every place along the first axis that is longer than 1."""
    return next((a for a, n in zip(axes, shape) if n > 1), axes[0])


def _check_sequence(axes: str, shape: tuple[int, ...], dtype: np.dtype, *, check: Check, name: str) -> None:
    step = _step_axis(axes, shape)
    if sum(n > 1 for a, n in zip(axes, shape) if a not in ("c", step)) < 2:
        raise InputError(
            f"'{name} sequence' has a file for every place along the first axis and a plane for the others; the result has the "
            f"axes {axes} and is {shape}: write one file, or give --output_axis_order={'c' + axes.replace('c', '')}"
        )
    check(axes, tuple(1 if a == step else n for a, n in zip(axes, shape)), dtype)


def sequence_paths(path: Path, axes: str, shape: tuple[int, ...], start: Mapping[str, int]) -> tuple[Path, ...]:
    """The files of a sequence. path : its name holds {slice_index}, which counts in the whole image."""
    step = _step_axis(axes, shape)
    first, n = start.get(step, 0), dict(zip(axes, shape))[step]
    digits = math.ceil(math.log10(first + n + 1))
    return tuple(
        Path(SLICE_INDEX.sub(lambda found: format(i, found[1] or f"0{digits}"), str(path)))  # noqa: B023
        for i in range(first, first + n)
    )


def _write_sequence(volume: Volume, path: Path, inner: str, *, save: Save) -> tuple[Path, ...]:
    step = _step_axis(volume.axes, volume.shape)
    targets = sequence_paths(path, volume.axes, volume.shape, volume.start)
    with ExitStack() as stack:
        for i, target in enumerate(targets):
            save(volume, {step: (i, i + 1)}, stack.enter_context(written_aside(target, overwrite=True)))
    return targets


# ---------------------------------------------------------------- all of them

GREY, DEEP, COLOUR = ("uint8", 1), ("uint16", 1), ("uint8", 3)
PICTURES: dict[str, tuple[tuple[str, int], ...]] = {
    "bmp": (GREY, COLOUR),
    "gif": (GREY,),
    "jpeg": (GREY, COLOUR),
    "jpg": (GREY, COLOUR),
    "pbm": (GREY, DEEP),
    "pgm": (GREY, DEEP),
    "png": (GREY, DEEP, COLOUR),
    "pnm": (GREY, DEEP, COLOUR),
    "ppm": (GREY, DEEP, COLOUR),
    "tif": (),
    "tiff": (),
}
PILLOW = {"bmp": "BMP", "gif": "GIF", "jpeg": "JPEG", "jpg": "JPEG", "png": "PNG"} | dict.fromkeys(
    ("pbm", "pgm", "pnm", "ppm"), "PPM"
)


def _all_formats() -> dict[str, Format]:
    found = {}
    several: list[tuple[str, str, Check, Save, str]] = [
        ("multipage tiff", "tiff", _check_pages, _save_pages, PAGE_AXES)
    ]
    for kind in PICTURES:
        several.append((kind, kind, partial(_check_picture, kind=kind), partial(_save_picture, kind=kind), ""))
    for name, extension, check, save, order in several:
        found[name] = Format(extension, check, partial(_write_file, save=save), _check_file, order=order)
        check, write = partial(_check_sequence, check=check, name=name), partial(_write_sequence, save=save)
        found[f"{name} sequence"] = Format(extension, check, write, _check_file, is_sequence=True)
    for name, compressed in (("", False), ("compressed ", True)):
        hdf5, n5 = partial(_write_hdf5, compressed=compressed), partial(_write_n5, compressed=compressed)
        found[f"{name}hdf5"] = Format("h5", _anything, hdf5, _check_hdf5, has_inner=True)
        found[f"{name}n5"] = Format("n5", _anything, n5, _check_n5, has_inner=True)
    for name, levels in (("single-scale", False), ("multi-scale", True)):
        found[f"{name} OME-Zarr"] = Format("zarr", _anything, partial(_write_ome_zarr, levels=levels), _check_ome_zarr)
    found["numpy"] = Format("npy", _anything, _write_npy, _check_file)
    return found


FORMATS = _all_formats()
_NO_WRITER = "no library here writes it; take tiff, or hdf5"
ABSENT = {
    **{f"{kind}{more}": _NO_WRITER for kind in ("exr", "hdr", "ras", "xv") for more in ("", " sequence")},
    "dvid": "write n5 or hdf5, and upload that",
    "blockwise hdf5": "ilastik lists it, and does not write it either; take hdf5",
}
