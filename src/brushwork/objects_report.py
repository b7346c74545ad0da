"""The page about objects that `brushwork segment` found: where they lie, and how they are. Open it to change what it says.

Numbers and pictures are made here, as values; objects_template.html only arranges them.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brushwork._version import __version__
from brushwork.blocks import Region
from brushwork.density import Density, density_of, unit_of_density
from brushwork.errors import InputError
from brushwork.image import SPATIAL, ArrayImage, Image, part_of
from brushwork.io import open_image, write_image
from brushwork.io.tables import read_table
from brushwork.measure import unit_of
from brushwork.previews import outlined
from brushwork.report import (
    PREVIEW_EDGE,
    UNREADABLE,
    View,
    count,
    data_uri,
    micrometres,
    picture_of,
    rendered,
    size,
    view_of,
    write_page,
)
from brushwork.segmenting import FLAG, LABELS, TABLE, read_record
from brushwork.table import Table

PAGE, DENSITY = "objects.html", "density.tif"
WINDOW = 512  # pixels; of larger sections a part of this edge is shown with outlines
BINS = 40  # at most, and about twice the root of the number of objects
TAIL, ENOUGH = (
    99.0,
    100,
)  # percentile at which a histogram ends where the largest of at least so many values lie far beyond
PLACES = ("label", "frame", "centroid", "bbox", "axis_major_direction", "inertia_tensor_eigvals")
HEAT = ((0, 0, 10), (70, 20, 110), (170, 45, 95), (235, 105, 40), (250, 190, 60), (255, 250, 200))  # from none to most
UNITS = {"um": "µm", "um2": "µm²", "um3": "µm³"}
WORDS = UNITS | {"pixel": "pixels", "voxel": "voxels"}
FRAME_COLOR = (230, 159, 0)


@dataclass(frozen=True)
class Histogram:
    """Of a column. bars : objects per bin. low, high : where the first bin begins and the last one ends.

    ends : the smallest and the largest value that fall into bins. beyond : objects with larger ones.
    lines : where the quartiles lie, as shares of the way from low to high.
    """

    column: str
    unit: str
    bars: tuple[int, ...]
    low: float
    high: float
    ends: tuple[float, float] = (0.0, 0.0)
    beyond: int = 0
    lines: tuple[float, ...] = ()

    @property
    def heights(self) -> list[float]:
        """Of the bars, 1 for the tallest."""
        top = max(self.bars, default=0) or 1
        return [n / top for n in self.bars]


@dataclass(frozen=True)
class Numbers:
    """What the values of a column are, over the `known` objects for which it is a finite number."""

    column: str
    unit: str
    known: int
    mean: float
    quartiles: tuple[float, ...]  # smallest, quarter, median, three quarters, largest


def write_objects_report(
    folder: str | Path,
    out: str | Path | None = None,
    *,
    edge: float | None = None,
    spacing: tuple[float, ...] | None = None,
) -> tuple[Path, Path]:
    """Write one self-contained HTML page about the objects in a folder, and a density map beside it.

    Parameters
    ----------
    folder
        As `segment` has written it.
    out
        The page, NAME.html, and beside it NAME_density.tif; `folder`/objects.html and density.tif by default.
    edge, spacing
        Of the blocks in which the density is counted, see `density_of`.

    Returns
    -------
    page, density
        The page and the density map, an OME-TIFF. Images that have moved are noted in the page.

    Raises
    ------
    InputError
        Where the folder holds no objects.
    RunError
        Where page or map cannot be written.
    """
    folder = Path(folder)
    map_file = folder / DENSITY if out is None else Path(out).with_name(f"{Path(out).stem}_{DENSITY}")
    out = folder / PAGE if out is None else Path(out)
    run = read_record(folder)
    table = _table_of(folder)
    shape, n_frames = tuple(int(n) for n in run["shape"]), int(run.get("n_frames", 1))
    pixel_size = tuple(run["probabilities"].get("pixel_size") or ()) or None
    density = density_of(table, shape, n_frames=n_frames, pixel_size=pixel_size, edge=edge, spacing=spacing)
    pictures, notes = _pictures(folder, run, table, shape, n_frames)
    values = {
        "name": Path(str(run["probabilities"]["image"])).name,
        "version": __version__,
        "facts": _facts(run, shape, n_frames, pixel_size),
        "figures": _figures(run, table, shape, n_frames, pixel_size),
        "notes": notes,
        "pictures": pictures,
        "maps": _maps(density),
        "gradient": gradient(),
        "blocks": _blocks(density),
        "map_file": map_file.name,
        "histograms": [histogram(name, column, len(shape)) for name, column in _charted(table)],
        "numbers": [numbers(name, column, len(shape)) for name, column in _measured(table)],
        "settings": _settings(run),
    }
    write_page(out, rendered("objects_template.html", values))
    return out, _write_density(density, map_file)


def _table_of(folder: Path) -> Table:
    """The table in a folder; Parquet, which is read faster, where that is possible."""
    files = [folder / f"{TABLE}.parquet"] * bool(find_spec("pyarrow")) + [folder / f"{TABLE}.csv"]
    for file in files:
        if file.is_file():
            return read_table(file)
    raise InputError(f"{folder} holds no {files[-1].name}; segment again")


def _write_density(density: Density, path: Path) -> Path:
    """As an image that lies over the one that was segmented."""
    values = density.values if len(density.counts) > 1 else density.values[0]
    axes = "t" * (len(density.counts) > 1) + SPATIAL[-len(density.shape) :]
    size_of_block = tuple(s * b for s, b in zip(density.pixel_size, density.block)) if density.pixel_size else None
    image = ArrayImage(values, axes, channel_names=(f"objects per {density.unit}",), pixel_size=size_of_block)
    write_image(image, path, overwrite=True)
    return path


# ------------------------------------------------------------------------------------------------------------- in numbers


def _measured(table: Table) -> Iterator[tuple[str, NDArray]]:
    """The columns that say how objects are, not which or where."""
    for name, values in table.columns.items():
        is_place = name.split("-")[0].removesuffix("_um") in PLACES
        if not is_place and values.dtype.kind in "iuf":
            yield name, values


def _charted(table: Table) -> Iterator[tuple[str, NDArray]]:
    """Those of which a histogram is drawn: not in pixels what is known in micrometres; and objects by frame."""
    if "frame" in table.columns:
        yield "frame", table["frame"]
    for name, values in _measured(table):
        if not any(f"{name}_{unit}" in table.columns for unit in UNITS):
            yield name, values


def numbers(name: str, values: NDArray, ndim: int) -> Numbers:
    """Mean and quartiles of a column; NaN where nothing is known."""
    known = values[np.isfinite(values)]
    quartiles = np.quantile(known, (0, 0.25, 0.5, 0.75, 1)) if len(known) else np.full(5, math.nan)
    mean = float(known.mean()) if len(known) else math.nan
    return Numbers(name, _unit(name, ndim), len(known), mean, tuple(quartiles.tolist()))


def histogram(name: str, values: NDArray, ndim: int) -> Histogram:
    """A column in bins of one width, those of whole numbers of a whole width.

    It ends at the percentile TAIL where the largest value lies more than twice as far from the smallest.
    """
    known = values[np.isfinite(values)]
    if not len(known):
        return Histogram(name, _unit(name, ndim), (), 0.0, 0.0)
    low, top = known.min().item(), known.max().item()
    tail, most = float(np.percentile(known, TAIL)), min(BINS, math.ceil(2 * math.sqrt(len(known))))
    if len(known) >= ENOUGH and low < tail and top - low > 2 * (tail - low):
        top = math.ceil(tail) if known.dtype.kind in "iu" else tail
    if known.dtype.kind in "iu":
        width = -(-(top - low + 1) // most)
        n = -(-(top - low + 1) // width)
        first, high = low - 0.5, low - 0.5 + n * width
    else:
        n, first, high = most, low, top if top > low else low + max(abs(low), 1.0)
    bars = np.histogram(known, n, (first, high))[0]
    lines = (np.quantile(known, (0.25, 0.5, 0.75)) - first) / (high - first)
    shown = tuple(float(line) for line in lines if line <= 1)
    ends = (low, known[known <= high].max().item())
    return Histogram(name, _unit(name, ndim), tuple(bars.tolist()), first, high, ends, int((known > high).sum()), shown)


def _unit(column: str, ndim: int) -> str:
    unit = unit_of(column, ndim)
    return WORDS.get(unit, unit)


def _facts(
    run: Mapping[str, Any], shape: tuple[int, ...], n_frames: int, pixel_size: tuple[float, ...] | None
) -> list[str]:
    facts = [" × ".join(str(n) for n in shape) + " pixels (" + ", ".join(SPATIAL[-len(shape) :]) + ")"]
    if n_frames > 1:
        facts.append(f"{n_frames} frames")
    facts.append(micrometres(pixel_size) if pixel_size else "pixel size unknown")
    if run.get("class"):
        facts.append(f"class {run['class']}")
    if run.get("region"):
        facts.append(f"searched in {_box(run['region'])} only")
    return facts


def _box(region: Mapping[str, Any]) -> str:
    return ", ".join(f"{a}:{b}" for a, b in zip(region["start"], region["stop"]))


def _figures(
    run: Mapping[str, Any], table: Table, shape: tuple[int, ...], n_frames: int, pixel_size: tuple[float, ...] | None
) -> list[tuple[str, str]]:
    """(number, what it is) of the figures at the top."""
    region, n = run.get("region"), len(table)
    searched = [b - a for a, b in zip(region["start"], region["stop"])] if region else list(shape)
    whole = math.prod(searched) * n_frames * (math.prod(pixel_size) / 1e3 ** len(shape) if pixel_size else 1e-6)
    found = [(count(n), "object" if n == 1 else "objects")]
    found.append((size(n / whole), f"per {unit_of_density(len(shape), pixel_size is not None)} searched"))
    for name, values in _charted(table):
        if n and name.startswith(("area", "intensity_mean")):
            median = numbers(name, values, len(shape)).quartiles[2]
            found.append((f"{size(median)} {_unit(name, len(shape))}".strip(), f"median {name}"))
    if n and "touches_border" in table.columns:
        found.append((count(int(table["touches_border"].sum())), "touch the edge of the image"))
    if "class" in table.columns:
        names, counts = np.unique(table["class"].astype(str), return_counts=True)
        found += [(count(int(k)), f"of class {name}" if name else "of no class") for name, k in zip(names, counts)]
    if FLAG in table.columns and table[FLAG].any():
        found.append((count(int(table[FLAG].sum())), "too large to be split, left whole"))
    return found


def _blocks(density: Density) -> str:
    """How large a block is, in words."""
    axes = " × ".join(str(b) for b in density.block)
    if density.pixel_size is None:
        return f"{axes} pixels"
    return f"{axes} pixels, " + " × ".join(f"{b * s:.4g}" for b, s in zip(density.block, density.pixel_size)) + " µm"


def _settings(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was asked, in words."""
    rule = run["rule"]
    foreground, splitting = rule.get("foreground", {}), rule.get("splitting", {})
    grow, spacing = run.get("grow") or (0, None)
    rows = [
        ("Probabilities", run["probabilities"]["image"]),
        ("Threshold", "none" if foreground.get("threshold") is None else f"{foreground['threshold']:g}"),
        ("Core", "none" if foreground.get("core") is None else f"{foreground['core']:g}"),
        ("Beats the other classes", "asked for" if foreground.get("beats_others") else "not asked for"),
        ("Smoothing (sigma)", ", ".join(f"{s:g}" for s in foreground.get("sigma") or ()) or "none"),
        ("Neighbours", str(rule.get("connectivity") or "the fewest")),
        ("Holes", "filled" if rule.get("fill_holes") else "left"),
        ("Objects at the image's edge", "left out" if rule.get("clear_border") else "kept"),
        ("Size", f"{rule.get('min_size')} to {rule.get('max_size') or 'any number of'} pixels"),
        ("Split", _split(splitting)),
        ("Grown by", f"{grow:g} {'µm' if spacing else 'pixels'}" if grow else "nothing"),
        ("Only where", str(run.get("where") or "no condition")),
        *((f"Raw image {name}", entry["image"]) for name, entry in run.get("raw", {}).items()),
        *(
            (label, run[key]["image"])
            for key, label in (("ignore", "Left out"), ("segmentation", "Classes"))
            if run.get(key)
        ),
        ("Found with", str(run.get("software", "not recorded"))),
        ("Page made with", f"brushwork {__version__}"),
    ]
    return [(name, str(value)) for name, value in rows]


def _split(splitting: Mapping[str, Any]) -> str:
    method = splitting.get("method", "none")
    if method == "none":
        return "no"
    if method == "peaks":
        return f"at peaks of the first raw image, above {splitting.get('larger_than')} pixels"
    near, depth = splitting.get("min_distance", 0), splitting.get("depth") or 0
    return f"watershed on {splitting.get('heights')}; peaks {near:g} pixels apart, {depth:g} deep"


# ------------------------------------------------------------------------------------------------------------ in pictures


def _pictures(
    folder: Path, run: Mapping[str, Any], table: Table, shape: tuple[int, ...], n_frames: int
) -> tuple[list[tuple[str, str]], list[str]]:
    """((caption, data URI) of outlines and, of a larger section, where they are taken from; what could not be shown)."""
    t, z = _fullest(table, shape, n_frames)
    overview = _through(view_of(shape, n_frames, PREVIEW_EDGE), t, z)
    window = _window(table, overview.region, t, z)
    which = _section_name(shape, n_frames, t, z)
    image, shown, notes = _image_below(run, shape, n_frames)
    try:
        labels = open_image(folder / LABELS)
        numbers_there = labels.stored(window)[0].reshape(window.shape[-2:]).astype(np.int64)
        if image is not None:
            picture, caption = picture_of(image, View(window, (1, 1)))
            grey = picture.mean(2).astype(np.uint8)
        else:
            grey, caption = np.zeros(window.shape[-2:], np.uint8), "Objects"
        made = [(f"Outlines of objects, {shown or caption}{which}", data_uri(outlined(grey, numbers_there)))]
        if image is not None and window.shape[-2:] != overview.region.shape[-2:]:
            caption = f"All of it{which}; the marked part is shown beside it"
            made.append((caption, data_uri(_framed(image, overview, window))))
    except UNREADABLE as error:
        return [], [*notes, f"The objects could not be drawn: {error}"]
    return made, notes


def _image_below(run: Mapping[str, Any], shape: tuple[int, ...], n_frames: int) -> tuple[Image | None, str, list[str]]:
    """(the first image that can still be opened, of the raw ones and the probabilities; what it is; what could not)."""
    entries = [(f"raw image {name}", entry) for name, entry in run.get("raw", {}).items()]
    entries.append(("probabilities", run["probabilities"]))
    notes = []
    for what, entry in entries:
        try:
            size_told = entry.get("pixel_size")
            image = open_image(
                entry["image"], axes=entry.get("axes"), pixel_size=tuple(size_told) if size_told else None
            )
            if (image.shape, image.n_frames) != (shape, n_frames):
                raise InputError(
                    f"it is {image.shape} with {image.n_frames} frame(s), the objects lie in {shape} with {n_frames}"
                )
        except UNREADABLE as error:
            notes.append(f"{what[0].upper()}{what[1:]} could not be opened: {error}")
            continue
        if what == "probabilities":
            names = image.channel_names
            channel = names.index(run["class"]) if run.get("class") in names else 0
            image = part_of(image, {"c": (channel, channel + 1)})
        return image, f"over the {what}", notes
    return None, "", notes


def _fullest(table: Table, shape: tuple[int, ...], n_frames: int) -> tuple[int, int]:
    """(frame, section) through which most objects go, of equal ones the nearest to the middle; the section is 0 of a plane."""
    depth = shape[0] if len(shape) == 3 else 1
    low, high = (table["bbox-0"], table["bbox-3"]) if len(shape) == 3 else (np.zeros(len(table), np.int64),) * 2
    through = np.zeros((n_frames, depth + 1), np.int64)
    frame = table["frame"] if n_frames > 1 else np.zeros(len(table), np.int64)
    np.add.at(through, (frame, low), 1)
    if len(shape) == 3:
        np.add.at(through, (frame, high), -1)
    found = through.cumsum(1)[:, :depth]
    t, z = np.nonzero(found == found.max())
    nearest = np.argmin(np.abs(t - n_frames // 2) * depth + np.abs(z - depth // 2))
    return int(t[nearest]), int(z[nearest])


def _through(view: View, t: int, z: int) -> View:
    """The same view of another frame and section."""
    region = replace(view.region, t=t)
    if len(region.start) == 3:
        region = replace(region, start=(z, *region.start[1:]), stop=(z + 1, *region.stop[1:]))
    return replace(view, region=region)


def _window(table: Table, section: Region, t: int, z: int) -> Region:
    """The part of a section, at most WINDOW pixels wide and high, in which the most objects lie that go through it."""
    ndim = len(section.start)
    here = np.ones(len(table), bool) if "frame" not in table.columns else table["frame"] == t
    if ndim == 3:
        here &= (table["bbox-0"] <= z) & (z < table["bbox-3"])
    start, stop = list(section.start), list(section.stop)
    half = WINDOW // 2
    corners = [table[f"centroid-{axis}"][here] - start[axis] for axis in (ndim - 2, ndim - 1)]
    cells = [max(-(-n // half), 2) for n in section.shape[-2:]]
    at = [np.clip(c // half, 0, n - 1).astype(np.int64) for c, n in zip(corners, cells)]
    counts = np.zeros(cells, np.int64)
    np.add.at(counts, tuple(at), 1)
    of_windows = counts[:-1, :-1] + counts[:-1, 1:] + counts[1:, :-1] + counts[1:, 1:]
    best = np.unravel_index(of_windows.argmax(), of_windows.shape)
    for axis, index in zip((ndim - 2, ndim - 1), best):
        last = max(section.shape[axis] - WINDOW, 0)
        start[axis] += min(int(index) * half, last)
        stop[axis] = min(start[axis] + WINDOW, section.stop[axis])
    return Region(tuple(start), tuple(stop), t)


def _section_name(shape: tuple[int, ...], n_frames: int, t: int, z: int) -> str:
    """ ", section 3 of 9, frame 1 of 5" in as far as there are several."""
    section = f", section {z + 1} of {shape[0]}" if len(shape) == 3 else ""
    return section + (f", frame {t + 1} of {n_frames}" if n_frames > 1 else "")


def _framed(image: Image, view: View, window: Region) -> NDArray[np.uint8]:
    """A section, with a frame around a part of it."""
    picture = picture_of(image, view)[0].copy()
    spans = []
    for axis, step, n in zip((-2, -1), view.step, picture.shape):
        first = (window.start[axis] - view.region.start[axis]) // step
        spans.append((first, min((window.stop[axis] - view.region.start[axis]) // step, n - 1)))
    (top, bottom), (left, right) = spans
    for edge in (0, 1):
        picture[[top + edge, bottom - edge], left : right + 1] = FRAME_COLOR
        picture[top : bottom + 1, [left + edge, right - edge]] = FRAME_COLOR
    return picture


@dataclass(frozen=True)
class Heat:
    """A density as a picture. top : what the brightest colour stands for. ratio : width to height."""

    caption: str
    picture: str
    top: str
    ratio: float


def _maps(density: Density) -> list[Heat]:
    """Density seen from above: of a plane one picture, of a volume its maximum and its sum along z."""
    values, total = density.seen_from_above()
    step = density.pixel_size[-2:] if density.pixel_size else (1.0, 1.0)
    ratio = density.shape[-1] * step[1] / (density.shape[-2] * step[0])
    of_frames = ", mean of all frames" if len(density.counts) > 1 else ""
    captions = [f"Objects per {density.unit}{of_frames}"]
    if len(density.shape) == 3:
        flat = unit_of_density(2, density.pixel_size is not None)
        captions = [f"Largest density along z, objects per {density.unit}{of_frames}"]
        captions.append(f"All objects along z, per {flat}{of_frames}")
    return [
        Heat(caption, data_uri(heat_picture(seen)), size(float(seen.max())), ratio)
        for caption, seen in zip(captions, (values, total))
    ]


def heat_picture(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Numbers (rows, columns) from 0 on as colours (rows, columns, 3), from dark to bright."""
    share = values / (values.max() or 1)
    at = np.linspace(0, 1, len(HEAT))
    channels = [np.interp(share, at, [color[i] for color in HEAT]) for i in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def gradient() -> str:
    """The colours of HEAT for a style sheet."""
    return f"linear-gradient(90deg, {', '.join('#' + bytes(color).hex() for color in HEAT)})"
