"""ecc's table of cells, from a probability map and the raw image: where each lies, and how far it stands out.

Objects are found in the whole volume, so each is one row and measured whole. An object that is too large for a cell is several:
one at each pixel of it that is the brightest in a cube of the largest size allowed.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects as boxes_in
from scipy.ndimage import maximum_filter

from brushwork.blocks import Region, run_over
from brushwork.errors import InputError
from brushwork.foreground import Foreground
from brushwork.image import SPATIAL, ArrayImage, check_pixel_size
from brushwork.io.aside import make_folder
from brushwork.io.tables import check_free, write_table
from brushwork.kernels.measures import percentiles_around, signals_around
from brushwork.kernels.parts import compact
from brushwork.measure import Measurements, measure
from brushwork.objects import Objects, Progress, Rule, Volume, check_same_size, find_objects
from brushwork.pieces import Pieces
from brushwork.table import Table

UNITS = {"X": "um", "Y": "um", "Z": "um", "vol": "um3"}
PEAK_RADIUS = 2  # pixels; the signal of a peak is the mean of a cube of this radius
EDGE = 128  # pixels, of a block


@dataclass(frozen=True)
class CellRule:
    """What a cell is, and what is measured around it; the defaults are ecc's.

    channel : of the probability map. threshold : a pixel counts from this probability on. min_size, max_size : pixels; smaller
    objects are left out, larger ones are several cells; None where none is too large. around : signal and background.
    sbr, delta : of a second table, with the cells whose (deltaI + BG) / BG and whose deltaI are larger; None for no such limit.
    """

    channel: int = 0
    threshold: float = 0.7
    min_size: int = 1
    max_size: int | None = None
    around: Measurements = field(default_factory=Measurements)
    sbr: float | None = None
    delta: float | None = None

    def __post_init__(self) -> None:
        if self.max_size is not None and self.max_size < max(self.min_size, 1):
            raise InputError(f"cells of {self.min_size} to {self.max_size} pixels were asked for; there can be none")

    @property
    def objects(self) -> Rule:
        return Rule(Foreground(self.channel, self.threshold), min_size=self.min_size)

    @property
    def filters(self) -> bool:
        return self.sbr is not None or self.delta is not None


@dataclass(frozen=True, eq=False)
class Cells:
    """A row per cell, as in `files`. filtered : those that stand out enough; None where that was not asked for."""

    files: tuple[Path, ...]
    table: Table
    filtered: Table | None


def find_cells(
    probabilities: ArrayImage,
    raw: ArrayImage,
    file: str | Path,
    rule: CellRule | None = None,
    *,
    ignore: ArrayImage | None = None,
    pixel_size: Sequence[float] | None = None,
    block: int | None = None,
    threads: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Cells:
    """Find the cells of a volume and write ecc's table: X, Y, Z, deltaI, BG, vol, deltaI_total.

    raw : one channel. file : .csv, with two decimals as ecc writes it, or .parquet; filtered cells go to NAME_filtered beside it.
    ignore : pixels where this is 1 or more belong to nothing. pixel_size : micrometres, z, y, x; None for the images' own.
    block : edge of a block in pixels; it changes no result.

    X, Y, Z are micrometres and belong to whole pixels: the rounded centroid, or a peak of an object that is larger than
    `max_size`. BG is a percentile of the raw image around, deltaI the signal less BG, at least 0; the signal at a peak is the
    mean in a cube of radius 2. vol is um3; of a peak it is that of `max_size`. deltaI_total is deltaI times the pixels.

    Raises
    ------
    InputError, RunError
        where the images do not suit each other or the pixel size is not known, or the table cannot be written.
    """
    rule, file = rule or CellRule(), Path(file)
    _check(probabilities, raw, ignore)
    size = _pixel_size(probabilities, raw, pixel_size)
    files = (file, file.with_stem(f"{file.stem}_filtered")) if rule.filters else (file,)
    for path in files:
        check_free(path, overwrite)
    volume, objects = Volume(probabilities, ignore, raw, block or EDGE, threads), rule.objects
    make_folder(file.parent)
    with Pieces(file.parent / f".{file.name}.{os.getpid()}.pieces") as pieces:
        table = _table(find_objects(volume, objects, pieces, progress), raw, rule, size, progress)
    tables = [table, standing_out(table, rule)][: len(files)]
    for path, rows in zip(files, tables):
        write_table(rows if path.suffix.lower() == ".parquet" else _as_text(rows), path, overwrite=overwrite)
    return Cells(files, table, tables[1] if rule.filters else None)


def standing_out(table: Table, rule: CellRule) -> Table:
    """The cells that pass the limits `sbr` and `delta`; where BG is 0 there is no ratio, so a limit on it is not passed."""
    signal, background = table["deltaI"], table["BG"]
    stays = np.ones(len(table), bool)
    if rule.sbr is not None:
        ratio = np.divide(signal + background, background, out=np.full(len(table), math.nan), where=background != 0)
        stays &= ratio > rule.sbr
    if rule.delta is not None:
        stays &= signal > rule.delta
    return table.chosen(stays)


def _check(probabilities: ArrayImage, raw: ArrayImage, ignore: ArrayImage | None) -> None:
    if len(probabilities.shape) != 3 or probabilities.n_frames > 1:
        raise InputError(
            f"{probabilities.uri} has the axes {probabilities.axes}; cells are found in one volume (z, y, x): "
            "use brushwork segment for planes and time series"
        )
    if len(raw.channel_names) > 1:
        raise InputError(f"{raw.uri} has the channels {', '.join(raw.channel_names)}; give one of them")
    check_same_size("raw image", raw, probabilities)
    if ignore is not None:
        check_same_size("mask to ignore", ignore, probabilities)


def _pixel_size(probabilities: ArrayImage, raw: ArrayImage, given: Sequence[float] | None) -> tuple[float, ...]:
    size = given or probabilities.pixel_size or raw.pixel_size
    if size is None:
        raise InputError(
            "neither the probability map nor the raw image tells its pixel size, and cells lie in micrometres; "
            "give it (--pixel-size 7,6.45,6.45)"
        )
    return check_pixel_size(size, SPATIAL)


def _as_text(table: Table) -> Table:
    return Table({name: np.char.mod("%.2f", values) for name, values in table.columns.items()})


def _table(
    found: Objects, raw: ArrayImage, rule: CellRule, size: tuple[float, ...], progress: Progress | None
) -> Table:
    volume = found.volume
    measured = measure(
        found.draw,
        volume.image.shape,
        images={"raw": raw},
        measurements=replace(rule.around, groups=("background",)),
        edge=volume.edge,
        threads=volume.threads,
        progress=progress,
    )
    is_cell = measured["area"] <= (rule.max_size or math.inf)
    cells = measured.chosen(is_cell)
    middles = np.rint(np.stack([cells[f"centroid-{i}"] for i in range(3)], axis=1)).astype(np.int64)
    whole = _Found(cells["label"], middles, cells["contrast-raw"], cells["background-raw"], cells["area"])
    large = np.concatenate([[False], ~is_cell])
    every = _joined([whole, *(_at_peaks(found, raw, rule, large, progress) if large.any() else ())])
    micrometres = every.points * size
    columns = {
        "X": micrometres[:, 2],
        "Y": micrometres[:, 1],
        "Z": micrometres[:, 0],
        "deltaI": every.delta,
        "BG": every.background,
        "vol": every.pixels * math.prod(size),
        "deltaI_total": every.delta * every.pixels,
    }
    return Table(columns, UNITS)


@dataclass(frozen=True, eq=False)
class _Found:
    """Cells of objects. label, pixels : (n,) int64. points : (n, 3) int64. delta, background : (n,) float64."""

    label: NDArray[np.int64]
    points: NDArray[np.int64]
    delta: NDArray[np.float64]
    background: NDArray[np.float64]
    pixels: NDArray[np.int64]


def _joined(several: Sequence[_Found]) -> _Found:
    """All of them in the order of objects, those of one object in the order of the volume."""
    label, points, *others = (
        np.concatenate([getattr(f, name) for f in several])
        for name in ("label", "points", "delta", "background", "pixels")
    )
    order = np.lexsort((*points.T[::-1], label))
    return _Found(label[order], points[order], *(values[order] for values in others))


# ---------------------------------------------------------------- peaks of large objects


def _at_peaks(
    found: Objects, raw: ArrayImage, rule: CellRule, large: NDArray[np.bool_], progress: Progress | None
) -> list[_Found]:
    """The cells of the objects that are too large. large : by label, whether it is so."""
    volume, size = found.volume, rule.max_size
    assert size is not None
    edge, shape = round(size ** (1 / 3)), volume.image.shape
    halo = max(edge // 2, rule.around.background_radius, PEAK_RADIUS)

    def work(region: Region) -> _Found | None:
        seen = region.grown((halo,) * 3).clipped(shape)
        inside = region.slices_in(seen)
        drawn = found.draw(seen)
        drawn[~large[drawn]] = 0
        if not drawn[inside].any():
            return None
        numbers = np.empty(drawn.shape, np.int32)
        ids = compact(drawn.ravel(), numbers.ravel())
        values = np.ascontiguousarray(raw.stored(seen)[0], np.float64)
        labels, points = _peaks_in(numbers, values, inside, edge)
        behind, largest, mean = (np.empty(len(points)) for _ in range(3))
        percentiles_around(values, points, rule.around.background_radius, rule.around.percentile, behind)
        signals_around(values, points, PEAK_RADIUS, largest, mean)
        if not (np.isfinite(behind).all() and np.isfinite(mean).all()):
            raise InputError(f"{raw.uri} holds values that are no finite numbers around a cell; replace them")
        delta = np.maximum(mean - behind, 0.0)
        return _Found(ids[labels], points + np.array(seen.start), delta, behind, np.full(len(points), size))

    cells, done, total = [], 0, math.prod(shape)
    for region, here in run_over(work, volume.blocks, threads=volume.threads):
        if here is not None:
            cells.append(here)
        done += region.size
        if progress is not None:
            progress("splitting", done, total)
    return cells


def _peaks_in(
    numbers: NDArray[np.int32], values: NDArray[np.float64], inside: tuple[slice, ...], edge: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(label, point) of the peaks of the labels from 1 on that lie `inside`, (n,) and (n, 3)."""
    low, high = (np.array([getattr(s, end) for s in inside]) for end in ("start", "stop"))
    labels: list[NDArray[np.int64]] = []
    points: list[NDArray[np.int64]] = [np.zeros((0, 3), np.int64)]
    for label, box in enumerate(boxes_in(numbers), 1):
        tops = peaks(numbers[box] == label, values[box], edge) + np.array([s.start for s in box])
        tops = tops[((tops >= low) & (tops < high)).all(1)]
        labels.append(np.full(len(tops), label))
        points.append(tops)
    return np.concatenate(labels), np.concatenate(points)


def peaks(mine: NDArray[np.bool_], values: NDArray[np.float64], edge: int) -> NDArray[np.int64]:
    """The pixels of a group that are its brightest in a cube of `edge` pixels around them, of equal ones the first, (n, ndim).

    mine : (*spatial) the pixels of the group. values : (*spatial). An even cube has one more pixel before than behind its middle.
    """
    there = np.flatnonzero(mine)
    rank = np.zeros(mine.shape, np.int64)
    rank.flat[there[np.argsort(-values[mine], kind="stable")]] = np.arange(len(there), 0, -1)
    return np.argwhere(mine & (maximum_filter(rank, edge, mode="constant") == rank))
