"""What ilastik does without its window: a project's classifier on images, and results of the kinds, types and names it gives them.

raw data, mask -> Input    project -> Stage (one, or two in Autocontext)    settings -> Export
                      \\         |         /
                        Result: values of any region
                               |  block by block, in threads
                        a scratch file, cut, rescaled and in the order of the output -> headless_formats.py
"""

import os
import re
import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from brushwork.blocks import Region, grid, run_over, thread_count
from brushwork.errors import InputError, unknown
from brushwork.image import AXES
from brushwork.interchange.guarded_hdf5 import array, guarded, subgroup, text
from brushwork.interchange.headless_formats import SLICE_INDEX, Format, Volume, format_named, sequence_paths
from brushwork.interchange.headless_inputs import Input
from brushwork.interchange.headless_results import Range, Result
from brushwork.interchange.ilp import WANTED
from brushwork.io import hdf5, n5
from brushwork.io.aside import partial_name, remove, told
from brushwork.io.places import file_of, is_remote
from brushwork.io.sources import Mapped
from brushwork.io.stored import is_n5
from brushwork.jobs import DEFAULT_MEMORY, EDGES, Progress, Settings, block_bytes

DTYPES = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64")
PADDING = re.compile(r"\d{0,2}d?")
LONGEST = 4096  # characters of a name that placeholders are filled into
ZEROS = 8 << 20  # bytes written at once where room cannot be taken in advance

Ends = tuple[int | None, ...]
Held = Mapping[tuple[int, int], Sequence[str]]


# ---------------------------------------------------------------- settings


@dataclass(frozen=True)
class Export:
    """How a result is written: ilastik's settings of its page "Prediction Export".

    source : one of `sources`, whatever its case; "" is the first. start, stop : pixels along t, c, z, y, x, or along the axes
    of the result where they are fewer; None is the end of the image. rescale : ranges before and after; None leaves values alone.
    dtype : one of DTYPES, "" is what the source gives. axes : letters of "tczyx", "" is what the image has.
    format : a name in headless_formats.FORMATS. filename, inner : with placeholders. folder : of relative file names.
    """

    source: str = ""
    start: Ends = ()
    stop: Ends = ()
    rescale: tuple[Range, Range] | None = None
    dtype: str = ""
    axes: str = ""
    format: str = "compressed hdf5"
    filename: str = "{dataset_dir}/{nickname}_{result_type}"
    inner: str = "exported_data"
    folder: Path = Path()

    def __post_init__(self) -> None:
        if self.dtype and self.dtype not in DTYPES:
            raise unknown("type of output", self.dtype, DTYPES)
        if len(set(self.axes)) != len(self.axes) or not set(self.axes) <= set(AXES):
            raise InputError(f"the output axes {self.axes!r} are not understood; each of t, c, z, y, x may come once")
        if len(self.start) != len(self.stop):
            raise InputError(f"the subregion begins with {len(self.start)} numbers and ends with {len(self.stop)}")


def format_of(export: Export) -> Format:
    """Raises InputError where the format cannot be had, or the file name does not suit it."""
    found = format_named(export.format)
    if found.is_sequence != ("{slice_index" in export.filename):
        needed = "needs {slice_index} in" if found.is_sequence else "has one file, leave {slice_index} out of"
        raise InputError(
            f"the format {export.format!r} {needed} --output_filename_format; {export.filename!r} was given"
        )
    return found


def stored_export(path: Path) -> Export:
    """The settings that a project was saved with; its relative file names begin at its folder."""
    with guarded(path, WANTED) as file:
        group = subgroup(file, "Prediction Export")
        if group is None:
            return Export(folder=path.absolute().parent)
        texts = {
            field: text(group, name)
            for field, name in (
                ("format", "OutputFormat"),
                ("filename", "OutputFilenameFormat"),
                ("inner", "OutputInternalPath"),
                ("dtype", "ExportDtype"),
                ("axes", "OutputAxisOrder"),
            )
        }
        start, stop = (array(group, name, "iu") for name in ("RegionStart", "RegionStop"))
        limits = [array(group, name) for name in ("InputMin", "InputMax", "ExportMin", "ExportMax")]
    given: dict[str, Any] = {field: value for field, value in texts.items() if value}
    if start is not None and stop is not None:
        given["start"], given["stop"] = (
            tuple(None if v < 0 else v for v in end.ravel().tolist()) for end in (start, stop)
        )
    known = [float(limit.ravel()[0]) for limit in limits if limit is not None and limit.size == 1]
    if len(known) == len(limits):
        given["rescale"] = ((known[0], known[1]), (known[2], known[3]))
    return Export(**given, folder=path.absolute().parent)


# ---------------------------------------------------------------- from values to an array


def converted(values: NDArray[Any], rescale: tuple[Range, Range] | None, dtype: np.dtype) -> NDArray[Any]:
    """Values moved linearly from one range to another and made `dtype`.

    Whole numbers are rounded where they are moved, and cut off where they are not; what a type cannot hold becomes its nearest.
    """
    if rescale is not None:
        (low, high), (new_low, new_high) = rescale
        ratio = np.float32((new_high - new_low) / (high - low)) if high != low else np.float32(0)
        values = np.float32(new_low) + (values.astype(np.float32, copy=False) - np.float32(low)) * ratio
        if dtype.kind in "iu":
            values = np.rint(values)
    if dtype.kind in "iu" and values.dtype.kind == "f":
        limits = np.iinfo(dtype)
        with np.errstate(invalid="ignore"):
            inside = values.astype(dtype)
        inside[values >= limits.max] = limits.max
        inside[values <= limits.min] = limits.min
        return inside
    return values.astype(dtype, copy=False)


def cutout(export: Export, lengths: Mapping[str, int], axes: str) -> dict[str, tuple[int, int]]:
    """(first, stop) of t, c, z, y and x. lengths : of the whole result by axis letter. axes : of the result."""
    spans = {a: (0, lengths.get(a, 1)) for a in AXES}
    if not export.start:
        return spans
    n = len(export.start)
    order = AXES if n == len(AXES) else axes
    if n != len(order):
        raise InputError(
            f"the subregion has {n} numbers at each end; give five, for {', '.join(AXES)}, or {len(axes)}, for {', '.join(axes)}"
        )
    for axis, first, stop in zip(order, export.start, export.stop):
        length = spans[axis][1]
        spans[axis] = max(first or 0, 0), min(stop or length, length)
        if spans[axis][0] >= spans[axis][1]:
            raise InputError(f"the subregion is empty: {axis} from {first} to {stop}, of an image with {length}")
    return spans


def formatted(pattern: str, known: Mapping[str, Any]) -> str:
    """A pattern with its placeholders filled in; {slice_index} is left for later.

    >>> formatted("{nickname}_{z_start:03}_{slice_index}", {"nickname": "a", "z_start": 7})
    'a_007_{slice_index}'
    """
    pieces = []
    try:
        for before, name, form, conversion in string.Formatter().parse(pattern):
            pieces.append(before)
            if conversion or not PADDING.fullmatch(form or ""):
                asked = f"!{conversion}" if conversion else f":{form}"
                raise InputError(
                    f"the placeholder {{{name}}} goes on with {asked[:40]!r}; "
                    "only a number of digits can follow, as in {x_start:04}"
                )
            if name == "slice_index":
                pieces.append("{slice_index" + (f":{form}" if form else "") + "}")
            elif name is not None:
                if name not in known:
                    raise unknown("placeholder", f"{{{name}}}", [f"{{{k}}}" for k in (*known, "slice_index")])
                pieces.append(format(known[name], form or ""))
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"the file name {pattern[:100]!r} cannot be filled in: {error}") from None
    filled = "".join(pieces)
    if len(filled) > LONGEST:
        raise InputError(
            f"the name {filled[:40]!r}... is {len(filled):,} characters long; give one of at most {LONGEST:,}"
        )
    return filled


@dataclass(frozen=True, eq=False)
class Plan:
    """A result with everything settled: its axes, part and type, and where it goes."""

    given: Input
    result: Result
    export: Export
    axes: str
    spans: Mapping[str, tuple[int, int]]
    dtype: np.dtype
    path: Path
    inner: str

    @property
    def shape(self) -> tuple[int, ...]:
        return self.shape_of(self.axes)

    @property
    def stored_axes(self) -> str:
        """As the scratch file has them."""
        return "".join(a for a in self.format.order or self.axes if a in self.axes)

    def shape_of(self, axes: str) -> tuple[int, ...]:
        return tuple(self.spans[a][1] - self.spans[a][0] for a in axes)

    @property
    def format(self) -> Format:
        return format_named(self.export.format)

    @property
    def targets(self) -> tuple[Path, ...]:
        """The files and folders that will be replaced."""
        if self.format.is_sequence:
            start = {a: first for a, (first, _) in self.spans.items()}
            return sequence_paths(self.path, self.axes, self.shape, start)
        return (self.path / self.inner if self.format.extension == "n5" else self.path,)


def plan_of(given: Input, result: Result, export: Export) -> Plan:
    """Raises InputError where the result cannot be written like that."""
    image = given.image
    lengths = {"t": image.n_frames, "c": result.n_channels, **dict(zip(image.spatial_axes, image.shape))}
    spans = cutout(export, lengths, given.axes)
    axes = export.axes or given.axes
    lost = [a for a, (first, stop) in spans.items() if stop - first > 1 and a not in axes]
    if lost:
        raise InputError(
            f"the output axes {axes!r} leave {', '.join(lost)} out, along which the result is longer than 1"
        )
    dtype = np.dtype(export.dtype) if export.dtype else result.dtype
    known: dict[str, Any] = {
        "dataset_dir": str(given.folder),
        "nickname": given.nickname,
        "result_type": result.name,
        "roi": str([tuple(spans[a][i] for a in given.axes) for i in (0, 1)]),
    }
    known |= {f"{a}_{end}": spans[a][i] for a in AXES for i, end in enumerate(("start", "stop"))}
    path = export.folder / os.path.expanduser(formatted(export.filename, known))
    chosen = format_of(export)
    # ilastik cuts off whatever follows the last dot, even where that is a part of the nickname.
    path = Path(os.path.splitext(path)[0] + f".{chosen.extension}")
    inner = formatted(export.inner, known).strip("/")
    if chosen.has_inner and (not inner or ".." in inner.split("/")):
        raise InputError(
            f"{export.inner!r} names no place inside a file; give --output_internal_path, e.g. exported_data"
        )
    plan = Plan(given, result, export, axes, spans, dtype, path, inner if chosen.has_inner else "")
    chosen.check(axes, plan.shape, dtype)
    return plan


def check_place(plan: Plan) -> None:
    """Raises InputError where the result cannot be put where it is to go."""
    for target in plan.targets if plan.format.is_sequence else (plan.path,):
        plan.format.check_place(target, plan.inner)
    folder = next(f for f in plan.path.absolute().parents if f.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(
            f"{plan.path} cannot be written: {folder} is no folder that may be written to; choose another one"
        )


def held(read: Iterable[str]) -> Held:
    """What is read, files or paths inside them, by the files and folders that hold it."""
    found: dict[tuple[int, int], list[str]] = {}
    for uri in read:
        if not is_remote(uri):
            file = (n5.dataset_folder(Path(uri)) if is_n5(Path(uri)) else file_of(uri)).resolve()
            for path in (file, *file.parents):
                found.setdefault(_identity(path), []).append(uri)
    return found


def refuse_replacing(targets: Iterable[Path], kept: Held, inner: str = "") -> None:
    """Raises InputError where writing `targets` would take away what is read, by whatever names they go.

    inner : the only dataset of an HDF5 file that is replaced; "" where all of it is.
    """
    for target in targets:
        there = kept.get(_identity(target), ()) if os.path.exists(target) else ()
        for uri in there:
            if not (inner and _is_beside(uri, inner)):
                raise InputError(
                    f"{target / inner} would be written over {uri}, which is read; choose another file name"
                    + " or --output_internal_path" * bool(inner)
                )


def _identity(path: Path) -> tuple[int, int]:
    """Device and number of a file or folder, zeros where it is none."""
    try:
        about = path.stat()
    except OSError:
        return 0, 0
    return about.st_dev, about.st_ino


def _is_beside(uri: str, inner: str) -> bool:
    """Whether a dataset can be written into the HDF5 file of another one, which stays as it is."""
    if file_of(uri).suffix.lower() not in hdf5.SUFFIXES:
        return False
    path, name = hdf5.split(uri)
    wanted, kept = ([part for part in text.split("/") if part not in ("", ".")] for text in (inner, name))
    if kept and (wanted[: len(kept)] == kept or kept[: len(wanted)] == wanted):
        return False
    try:
        with h5py.File(path, "r") as file:
            there = file.get("/".join(wanted))
            return there is None or bool(kept and there != file.get("/".join(kept)))
    except OSError:
        return False


def run(
    plan: Plan, *, threads: int | None = None, memory: int | None = None, progress: Progress | None = None
) -> tuple[Path, ...]:
    """Compute a result and write it; returns its files. threads, memory : see jobs.Settings; fewer threads where it is scarce."""
    with told(plan.path):
        plan.path.parent.mkdir(parents=True, exist_ok=True)
        scratch = partial_name(plan.path.with_name(SLICE_INDEX.sub("", plan.path.name) + ".pixels"))
    try:
        with told(plan.path):
            _take_room(scratch, int(np.prod(plan.shape)) * plan.dtype.itemsize)
        done, total = 0, int(np.prod([b - a for axis, (a, b) in plan.spans.items() if axis != "c"]))
        edge, threads = _block(plan, threads, memory or DEFAULT_MEMORY)
        for region, values in run_over(partial(_values, plan), _regions(plan, edge), threads=threads):
            _keep(plan, scratch, region, values)
            done += region.size
            if progress is not None:
                progress("predicting", done, total)
        return plan.format.write(_volume(plan, scratch), plan.path, plan.inner)
    finally:
        remove(scratch)


def _block(plan: Plan, threads: int | None, memory: int) -> tuple[int, int]:
    """Edge of blocks, and threads: all of them where the smallest blocks allow it."""
    image, model = plan.given.image, plan.result.classifier
    edges, wanted = EDGES[len(image.shape)], thread_count(threads)
    if model is None:
        return edges[1], wanted

    def held(edge: int) -> int:
        """Bytes of a thread: a block at work, one that waits to be kept, and one that is being kept."""
        made = int(np.prod([min(edge, n) for n in image.shape])) * plan.result.n_channels * plan.result.dtype.itemsize
        return block_bytes(model, model.seen(image), edge, Settings(plan.result.output)) + 2 * made

    edge = next((e for e in edges if wanted * held(e) <= memory), edges[-1])
    return edge, max(1, min(wanted, memory // held(edge)))


def _regions(plan: Plan, edge: int) -> Iterator[Region]:
    start, stop = (tuple(plan.spans[a][i] for a in plan.given.image.spatial_axes) for i in (0, 1))
    for t in range(*plan.spans["t"]):
        yield from grid(Region(start, stop, t), (edge,) * len(start))


def _values(plan: Plan, region: Region) -> NDArray[Any]:
    values = plan.result.values(region)[slice(*plan.spans["c"])]
    return converted(values, plan.export.rescale, plan.dtype)


def _take_room(path: Path, size: int) -> None:
    """A file of that size whose room is taken: a full disk is an error here, not a crash where it is mapped."""
    with path.open("wb") as file:
        if hasattr(os, "posix_fallocate") and size:
            os.posix_fallocate(file.fileno(), 0, size)
            return
        for first in range(0, size, ZEROS):
            file.write(bytes(min(ZEROS, size - first)))


def _keep(plan: Plan, scratch: Path, region: Region, values: NDArray[Any]) -> None:
    """values : (c, *spatial) of a region, put to its place among the output's axes."""
    spatial = plan.given.image.spatial_axes
    here = {a: (p, q) for a, p, q in zip(spatial, region.start, region.stop)} | {"t": (region.t, region.t + 1)}
    where = {a: slice(here[a][0] - plan.spans[a][0], here[a][1] - plan.spans[a][0]) for a in here}
    lengths = {"c": len(values), **dict(zip(spatial, values.shape[1:]))}
    order = "c" + spatial
    axes = plan.stored_axes
    kept = [a for a in axes if a in order]
    dropped = [a for a in order if a not in kept]
    part = values.transpose([order.index(a) for a in (*kept, *dropped)]).reshape([lengths.get(a, 1) for a in axes])
    # Mapped for this block only: pages that stay mapped count as memory of this process.
    mapped = np.memmap(scratch, plan.dtype, "r+", 0, plan.shape_of(axes))
    mapped[tuple(where.get(a, slice(None)) for a in axes)] = part


def _volume(plan: Plan, scratch: Path) -> Volume:
    image = plan.given.image
    sizes = dict(zip(image.spatial_axes, image.pixel_size)) if image.pixel_size else {}
    drange = plan.export.rescale[1] if plan.export.rescale else plan.result.drange
    return Volume(
        Mapped(scratch, plan.dtype, plan.shape_of(plan.stored_axes), 0),
        plan.stored_axes,
        {a: first for a, (first, _) in plan.spans.items()},
        {a: s for a, s in sizes.items() if a in plan.axes},
        plan.result.is_classes,
        drange,
    )
