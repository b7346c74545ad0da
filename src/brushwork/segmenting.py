"""A stored probability map into a folder of objects: their numbers as a volume, and a table of what was measured of them.

OUT/objects.ome.zarr             the number of an object per pixel
OUT/cells.csv, OUT/cells.parquet a row per object
OUT/brushwork-objects.json       what was asked, for reports
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brushwork._version import __version__
from brushwork.blocks import Region, grid, run_over
from brushwork.errors import InputError, RunError
from brushwork.expansion import expanded, steps
from brushwork.image import ArrayImage, Image, cut_out
from brushwork.io import Layout
from brushwork.io.aside import make_folder, refuse_existing, written_aside
from brushwork.io.fingerprints import fingerprint
from brushwork.io.places import noted
from brushwork.io.run_folder import RunFolder, run_folder_of
from brushwork.io.tables import write_table
from brushwork.jobs import files_state, mask_fingerprint
from brushwork.measure import Measurements, measure
from brushwork.objects import Progress, Rule, Volume, check_same_size, find_objects, ignored
from brushwork.pieces import Pieces
from brushwork.table import Table

LABELS, TABLE, RECORD = "objects.ome.zarr", "cells", "brushwork-objects.json"
EDGES = {2: 1024, 3: 128}  # pixels of a block
FLAG = "left_whole"  # the column that tells which groups were too large to be split
Draw = Callable[[Region], NDArray[np.int64]]


@dataclass(frozen=True, eq=False)
class Inputs:
    """What is looked at besides the probability map, all of its size.

    raw : images that are measured, by name; splits by intensities look at the first one. ignore : pixels where this is 1 or more
    belong to nothing. segmentation : classes of pixels, 1 .. n, and their names. region : the part that is searched, None
    for all.
    """

    raw: Mapping[str, ArrayImage] = field(default_factory=dict)
    ignore: ArrayImage | None = None
    segmentation: tuple[ArrayImage, Sequence[str]] | None = None
    region: Region | None = None


@dataclass(frozen=True, eq=False)
class Segmented:
    """What was made. table : a row per object, also in `files`."""

    labels: Path
    files: tuple[Path, ...]
    table: Table

    @property
    def n_left_whole(self) -> int:
        """Groups that were too large to be split."""
        return int(self.table[FLAG].sum())


def segment(
    probabilities: ArrayImage,
    out: str | Path,
    rule: Rule,
    inputs: Inputs | None = None,
    *,
    grow: float = 0.0,
    spacing: Sequence[float] | None = None,
    measurements: Measurements | None = None,
    where: str = "",
    formats: Sequence[str] = (".csv", ".parquet"),
    block: int | None = None,
    threads: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Segmented:
    """Find the objects of a probability map, measure them, and write their numbers and the table into the folder `out`.

    grow : by how much objects are grown afterwards, without merging, in the unit of `spacing` (how far pixels are apart on each
    axis; None counts pixels). where : which objects stay, a condition on the table's columns (Table.where).
    block : edge of a block in pixels; it changes no result. The numbers 1, 2, ... go by the objects' first pixels.

    Raises
    ------
    InputError, RunError
        where the images do not suit each other, or outputs exist or cannot be written.
    """
    inputs, out, ndim = inputs or Inputs(), Path(out), len(probabilities.shape)
    edge, apart = block or EDGES[ndim], spacing or (1.0,) * ndim
    files = tuple(out / f"{TABLE}{suffix}" for suffix in formats)
    goes_on = run_folder_of(out / LABELS).is_dir()  # tables are written before the labels are complete
    for path in files:
        refuse_existing(path, overwrite or goes_on)
    steps(grow, apart)
    _check_sizes(probabilities, inputs)
    measured = partial(_measured, channel=rule.foreground.channel, measurements=measurements, threads=threads)
    _check_table(where, probabilities, inputs, measured)
    make_folder(out)
    plan = _plan(probabilities, rule, inputs, grow, spacing, where, measurements)
    with RunFolder.held(out / LABELS, _layout(probabilities, rule), plan, overwrite) as run:
        try:
            with Pieces(run.folder / "pieces") as pieces:
                found = find_objects(searched(probabilities, inputs, edge, threads), rule, pieces, progress)
                grown = expanded(found.draw, found.volume.image.shape, grow, apart)
                draw = _placed(_outside(grown, found.volume), inputs.region, probabilities.shape)
                table = measured(draw, probabilities, inputs, edge=edge, progress=progress)
                table = Table({**table.columns, FLAG: found.whole[table["label"] - 1]}, table.units)
                table, names = _kept(table, len(found), where)
                _fill(run, lambda region: names[draw(region)], edge, threads, progress)
            for file in files:
                write_table(table, file, overwrite=overwrite or goes_on)
            _record(probabilities, out, inputs, plan)
            run.finish(partial(progress, "writing") if progress else None)
        except OSError as error:
            reason = f"{error.strerror or error}; what is done is kept in {run.folder}"
            raise RunError(f"{out} could not be written: {reason}") from error
    return Segmented(out / LABELS, files, table)


def _check_sizes(probabilities: ArrayImage, inputs: Inputs) -> None:
    others: dict[str, Image] = {f"raw image {name}": image for name, image in inputs.raw.items()}
    if inputs.ignore is not None:
        others["mask to ignore"] = inputs.ignore
    if inputs.segmentation is not None:
        others["segmentation"] = inputs.segmentation[0]
    for what, image in others.items():
        check_same_size(what, image, probabilities)


def _measured(
    draw: Draw,
    probabilities: ArrayImage,
    inputs: Inputs,
    *,
    channel: int,
    measurements: Measurements | None,
    edge: int | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Table:
    return measure(
        draw,
        probabilities.shape,
        n_frames=probabilities.n_frames,
        images=inputs.raw,
        probability=(probabilities, channel),
        classes=inputs.segmentation,
        pixel_size=probabilities.pixel_size,
        measurements=measurements,
        edge=edge,
        threads=threads,
        progress=progress,
    )


def _check_table(
    where: str, probabilities: ArrayImage, inputs: Inputs, measured: Callable[[Draw, ArrayImage, Inputs], Table]
) -> None:
    """Raise InputError where something cannot be measured, or a condition not be understood, by measuring nothing."""
    pixel = Region((0,) * len(probabilities.shape), (1,) * len(probabilities.shape))
    classes = inputs.segmentation
    few = Inputs(
        {name: cut_out(image, pixel) for name, image in inputs.raw.items()},
        segmentation=(cut_out(classes[0], pixel), classes[1]) if classes is not None else None,
    )
    empty = measured(lambda region: np.zeros(region.shape, np.int64), cut_out(probabilities, pixel), few)
    if where:
        Table({**empty.columns, FLAG: np.zeros(0, bool)}).where(where)


def searched(probabilities: ArrayImage, inputs: Inputs, edge: int, threads: int | None) -> Volume:
    """What is searched: all, or a part of all images."""

    def part(image: ArrayImage) -> ArrayImage:
        return image if inputs.region is None else cut_out(image, inputs.region)

    raw = next(iter(inputs.raw.values()), None)
    return Volume(
        part(probabilities),
        ignore=part(inputs.ignore) if inputs.ignore is not None else None,
        raw=part(raw) if raw is not None else None,
        edge=edge,
        threads=threads,
    )


def _outside(draw: Draw, volume: Volume) -> Draw:
    """What draws objects that may have grown into pixels to ignore, as something that draws them without these."""
    if volume.ignore is None:
        return draw

    def drawn(region: Region) -> NDArray[np.int64]:
        return np.where(ignored(volume, region), 0, draw(region))

    return drawn


def _placed(draw: Draw, part: Region | None, shape: Sequence[int]) -> Draw:
    """What draws a part, as something that draws the whole: nothing lies around it."""
    if part is None:
        return draw

    def drawn(region: Region) -> NDArray[np.int64]:
        out = np.zeros(region.shape, np.int64)
        start = tuple(max(a, b) for a, b in zip(region.start, part.start))
        stop = tuple(min(a, b) for a, b in zip(region.stop, part.stop))
        if all(a < b for a, b in zip(start, stop)):
            inside = Region(start, stop, region.t)
            out[inside.slices_in(region)] = draw(_moved(inside, part.start))
        return out

    return drawn


def _moved(region: Region, origin: Sequence[int]) -> Region:
    """A region in coordinates that begin at `origin`."""
    return Region(
        tuple(a - o for a, o in zip(region.start, origin)), tuple(b - o for b, o in zip(region.stop, origin)), region.t
    )


def _kept(table: Table, n: int, where: str) -> tuple[Table, NDArray[np.int64]]:
    """(the rows that stay, numbered anew; the new number of each of `n` objects, 0 for those that go)."""
    names = np.zeros(n + 1, np.int64)
    kept = table.where(where) if where else table
    names[kept["label"]] = np.arange(1, len(kept) + 1)
    return Table({**kept.columns, "label": names[kept["label"]]}, kept.units), names


def _plan(
    probabilities: ArrayImage,
    rule: Rule,
    inputs: Inputs,
    grow: float,
    spacing: Sequence[float] | None,
    where: str,
    measurements: Measurements | None,
) -> dict[str, Any]:
    """What settles the objects' numbers, to compare an interrupted run with."""
    return {
        "probabilities": _content(probabilities),
        "pixel size": probabilities.pixel_size,
        "frame axis": "t" in probabilities.axes,
        "rule": asdict(rule),
        "raw": [_content(image) for image in inputs.raw.values()],
        "ignore": mask_fingerprint(inputs.ignore) if inputs.ignore is not None else None,
        "region": asdict(inputs.region) if inputs.region is not None else None,
        "grow": [grow, spacing],
        "where": where,
        "measurements": asdict(measurements) if where and measurements is not None else None,
        "segmentation": _content(inputs.segmentation[0]) if where and inputs.segmentation is not None else None,
    }


def _content(image: ArrayImage) -> list[Any]:
    """Little may lie in the boxes that a fingerprint reads."""
    return [fingerprint(image), files_state(image.uri)]


def _record(probabilities: ArrayImage, out: Path, inputs: Inputs, plan: Mapping[str, Any]) -> None:
    """Note in `out` what was asked, and where the images are."""
    images: dict[str, Image | None] = {"probabilities": probabilities, "ignore": inputs.ignore}
    if inputs.segmentation is not None:
        images["segmentation"] = inputs.segmentation[0]
    told = {
        "software": f"brushwork {__version__}",
        **{name: _where(image) for name, image in images.items() if image is not None},
        "class": probabilities.channel_names[plan["rule"]["foreground"]["channel"]],
        "shape": probabilities.shape,
        "n_frames": probabilities.n_frames,
        "raw": {name: _where(image) for name, image in inputs.raw.items()},
        **{name: plan[name] for name in ("rule", "region", "grow", "where")},
    }
    with written_aside(out / RECORD, overwrite=True) as aside:
        aside.write_text(json.dumps(told, indent=1))


def _where(image: Image) -> dict[str, Any]:
    return {"image": noted(image.uri, Path(), absolute=True), "axes": image.axes, "pixel_size": image.pixel_size}


def read_record(folder: Path) -> dict[str, Any]:
    """What `segment` noted in a folder; raises InputError where there is nothing, or no record."""
    file = folder / RECORD
    try:
        data = json.loads(file.read_text())
    except FileNotFoundError:
        raise InputError(f"{folder} holds no {RECORD}; give a folder that brushwork segment has written") from None
    except ValueError as error:
        raise InputError(f"{file} is damaged ({error}); segment again") from None
    if not isinstance(data, dict) or any(name not in data for name in ("rule", "shape", "probabilities")):
        raise InputError(f"{file} is not the record of a segmentation into objects; segment again")
    return data


def _layout(probabilities: ArrayImage, rule: Rule) -> Layout:
    """Numbers of 32 bits where there cannot be more objects, else of 64."""
    most = probabilities.n_frames * math.prod(probabilities.shape) // max(rule.min_size, 1)
    return Layout(
        probabilities.shape,
        n_frames=probabilities.n_frames,
        has_time="t" in probabilities.axes,
        dtype=np.uint32 if most < 2**32 else np.uint64,
        channel_names=("objects",),
        pixel_size=probabilities.pixel_size,
        kind="objects",
    )


def _fill(run: RunFolder, draw: Draw, edge: int, threads: int | None, progress: Progress | None) -> None:
    """Write the shards that are missing, each drawn block by block."""
    layout = run.layout
    todo = [(i, region) for i, region in enumerate(run.store.task_regions()) if not run.is_done(i)]
    total = sum(region.size for _, region in todo)
    done = 0
    for i, region in todo:
        pixels = np.zeros((1, *region.shape), layout.dtype)
        for part, numbers in run_over(draw, grid(region, (edge,) * len(layout.shape)), threads=threads):
            pixels[0][part.slices_in(region)] = numbers
            done += part.size
            if progress is not None:
                progress("drawing", done, total)
        run.keep(i, region, pixels)
