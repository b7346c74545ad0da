"""Measurements of objects: one row each, the same however the volume is cut.

Strategy: every block adds up, for each label in it, whole numbers that do not depend on where the label begins or ends: pixels,
coordinates and their products, edge pixels, the ends of rows, sums of values. These parts are added over blocks, and only then
turned into measurements. The same number in two frames is two objects.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from brushwork.blocks import Region, grid, run_over, whole
from brushwork.components import Groups, boxes_of
from brushwork.errors import InputError, unknown
from brushwork.foreground import FULL
from brushwork.image import SPATIAL, ArrayImage, Image, check_pixel_size
from brushwork.kernels.measures import hull_areas, outlines, percentiles_around, signals_around, spans, touching
from brushwork.kernels.parts import compact, intensities, moments, shares
from brushwork.table import Table

Draw = Callable[[Region], NDArray]  # the labels of a region, (*spatial) whole numbers, 0 between objects
Progress = Callable[[str, int, int], None]  # what is done, pixels or objects done, and in all

GROUPS = {
    "basic": "size, place, box, whether an object touches the border of the image",
    "intensity": "mean, maximum, minimum and total of every channel",
    "probability": "mean and maximum of a probability map",
    "classes": "the fraction of each class of a segmentation, and the class with the largest one",
    "shape": "lengths and direction of the principal axes; in 2D also perimeter, eccentricity and solidity",
    "neighbors": "the number of other objects that touch it, also at a corner",
    "background": "the background around its centre, and how far it stands out",
}
NEEDS = {"intensity": "images", "background": "images", "probability": "a probability map", "classes": "a segmentation"}
SIGNALS = ("max", "mean", "object")
EDGE = {2: 1024, 3: 128}  # pixels, of a block


@dataclass(frozen=True)
class Measurements:
    """What is measured.

    groups : names of GROUPS, "basic" is always among them; None for all that the images allow, but shape, neighbors and background.
    The others say what background means, as in ecc's CellFinder: a percentile (0 to 100) of the values in a cube around the
    centroid; the signal is the maximum or the mean in another cube ("max", "mean"), or the mean of the object ("object").
    background_radius, signal_radius : pixels; a cube of radius 4 has an edge of 9.
    """

    groups: tuple[str, ...] | None = None
    background_radius: int = 4
    percentile: float = 5.0
    signal: str = "max"
    signal_radius: int = 1

    def __post_init__(self) -> None:
        for group in self.groups or ():
            if group not in GROUPS:
                raise unknown("group of measurements", group, GROUPS)
        if self.signal not in SIGNALS:
            raise unknown("signal", self.signal, SIGNALS)
        if self.background_radius < 0 or self.signal_radius < 0:
            raise InputError(
                f"cubes of radius {self.background_radius} and {self.signal_radius} were asked for; give 0 or more pixels"
            )
        if not 0 <= self.percentile <= 100:
            raise InputError(f"percentile {self.percentile:g} was asked for; percentiles are 0 to 100")

    def made(self, given: Mapping[str, bool]) -> frozenset[str]:
        """The groups that are measured. given : for those that need something, whether it is there; InputError where it is not."""
        groups = (
            [group for group in given if given[group] and group != "background"] if self.groups is None else self.groups
        )
        for group in groups:
            if not given.get(group, True):
                raise InputError(f"{group} was asked for ({GROUPS[group]}), which needs {NEEDS[group]}; none was given")
        return frozenset(groups) | {"basic"}


def measure(
    labels: Draw,
    shape: Sequence[int],
    *,
    n_frames: int = 1,
    images: Mapping[str, Image] | None = None,
    probability: tuple[Image, int] | None = None,
    classes: tuple[Image, Sequence[str]] | None = None,
    pixel_size: Sequence[float] | None = None,
    measurements: Measurements | None = None,
    edge: int | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Table:
    """Measure every object of a volume; rows are sorted by frame and label.

    labels : draws the labels of a region, e.g. `Objects.draw` or `stored_labels(image)`. shape : pixels along the spatial axes.
    images : the raw images by the name that their columns get. probability : a map and the channel of the class.
    classes : a segmentation, 1 .. n, and the names of its classes. pixel_size : micrometres per spatial axis.
    edge : pixels, of a block; the numbers do not depend on it (sums of floats to rounding).

    Columns are named as scikit-image's regionprops_table names them; lengths are pixels, except those whose names say um.
    The centre of the first pixel is 0. Raises InputError where images, labels and wishes do not suit each other, or where values in
    an object, or around it if its background is asked for, are not numbers.
    """
    if edge is not None and edge < 1:
        raise InputError(f"blocks of {edge} pixels were asked for; give 1 or more")
    measurements = measurements or Measurements()
    given = {
        "intensity": bool(images),
        "background": bool(images),
        "probability": bool(probability),
        "classes": bool(classes),
    }
    plan = _Plan(
        labels,
        tuple(shape),
        n_frames,
        tuple(channel for name, image in (images or {}).items() for channel in _channels(name, image)),
        _probability(*probability) if probability else None,
        _segmentation(*classes) if classes else None,
        tuple(classes[1]) if classes else (),
        check_pixel_size(pixel_size, SPATIAL[-len(shape) :]) if pixel_size is not None else None,
        measurements.made(given),
        measurements,
        edge or EDGE[len(shape)],
        threads,
    )
    _check(plan)
    objects = _added(plan, progress)
    columns = _basic(plan, objects)
    for group, finish in FINISH.items():
        if group in plan.what:
            columns |= finish(plan, objects)
    if "background" in plan.what:
        columns |= _background(plan, objects, columns, progress)
    return Table(columns, {name: unit for name in columns if (unit := unit_of(name, len(shape)))})


def unit_of(column: str, ndim: int) -> str:
    """The unit of a column that `measure` makes; "" where it has none.

    >>> unit_of("centroid_um-0", 2), unit_of("area", 3), unit_of("eccentricity", 2)
    ('um', 'voxel', '')
    """
    name = column.split("-")[0]
    for unit in ("um3", "um2", "um"):
        if name.endswith(f"_{unit}"):
            return unit
    if name == "area":
        return {2: "pixel", 3: "voxel"}[ndim]
    if name == "orientation":
        return "rad"
    is_length = name in ("centroid", "bbox", "perimeter", "equivalent_diameter_area") or name.endswith("_length")
    return "pixel" if is_length else ""


def stored_labels(image: Image, channel: int = 0) -> Draw:
    """Draws the labels that an image holds, whatever their numbers; raises InputError where it holds no whole numbers."""
    if image.dtype.kind not in "iu" or not isinstance(image, ArrayImage):
        raise InputError(
            f"{image.uri} holds {image.dtype}; the numbers of objects are whole: save it as an integer type"
        )
    if not 0 <= channel < len(image.channel_names):
        raise unknown("channel", channel, range(len(image.channel_names)))

    def draw(region: Region) -> NDArray:
        return _stored(image, region)[channel]

    return draw


# ---------------------------------------------------------------- what is asked


@dataclass(frozen=True, eq=False)
class _Channel:
    """One channel of an image. name : as in its columns."""

    name: str
    image: Image
    index: int

    @property
    def dtype(self) -> np.dtype:
        """As the values are added up: uint8 and uint16 as they are, int64 where that is exact, else float64."""
        stored = self.image.dtype
        if stored.kind == "b" or stored.str[1:] in ("u1", "u2"):
            return np.dtype(f"u{stored.itemsize}")
        return np.dtype(np.int64 if stored.kind in "iu" and stored.itemsize < 8 else np.float64)

    @property
    def sum_dtype(self) -> np.dtype:
        return np.dtype(np.float64 if self.dtype.kind == "f" else np.int64)


def _stored(image: Image, region: Region) -> NDArray:
    """All channels of a region as they are stored, in the machine's order of bytes."""
    values = image.stored(region) if isinstance(image, ArrayImage) else image.read(region)
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _values(channels: Mapping[str, _Channel], region: Region) -> Iterator[tuple[str, NDArray]]:
    """Each name with the values of its channel; channels of one image that follow each other are read at once."""
    for _, several in groupby(channels.items(), key=lambda item: id(item[1].image)):
        of_image = list(several)
        stored = _stored(of_image[0][1].image, region)
        for name, channel in of_image:
            yield name, np.ascontiguousarray(stored[channel.index], channel.dtype)


@dataclass(frozen=True, eq=False)
class _Plan:
    labels: Draw
    shape: tuple[int, ...]
    n_frames: int
    channels: tuple[_Channel, ...]
    probability: _Channel | None
    segmentation: Image | None
    classes: tuple[str, ...]
    pixel_size: tuple[float, ...] | None
    what: frozenset[str]
    measurements: Measurements
    edge: int
    threads: int | None

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def halo(self) -> int:
        """Pixels around a block whose labels are seen."""
        if "shape" in self.what and self.ndim == 2:
            return 2
        return int("neighbors" in self.what)

    @property
    def valued(self) -> dict[str, _Channel]:
        """The channels whose values are added up, by what their sums are called."""
        asked = self.what & {"intensity"} or ("background" in self.what and self.measurements.signal == "object")
        found = {channel.name: channel for channel in self.channels} if asked else {}
        return found | ({"": self.probability} if self.probability and "probability" in self.what else {})

    @property
    def sums(self) -> dict[str, tuple[np.ufunc, np.dtype, tuple[int, ...]]]:
        """What is added up over the pixels of a label: how parts of it are joined, its type, its shape."""
        whole_number: np.dtype = np.dtype(np.int64)
        found: dict[str, tuple[np.ufunc, np.dtype, tuple[int, ...]]] = {
            "count": (np.add, whole_number, ()),
            "low": (np.minimum, whole_number, (self.ndim,)),
            "high": (np.maximum, whole_number, (self.ndim,)),
            "sums": (np.add, whole_number, (3,)),
        }
        if "shape" in self.what:
            found["products"] = (np.add, whole_number, (6,))
            if self.ndim == 2:
                found["outline"] = (np.add, whole_number, (3,))
        if "classes" in self.what:
            found["shares"] = (np.add, whole_number, (len(self.classes) + 1,))
        for name, channel in self.valued.items():
            found[f"total-{name}"] = (np.add, channel.sum_dtype, ())
            found[f"min-{name}"] = (np.minimum, channel.dtype, ())
            found[f"max-{name}"] = (np.maximum, channel.dtype, ())
        return found


def _check(plan: _Plan) -> None:
    names = [channel.name for channel in plan.channels]
    if len(set(names)) < len(names):
        raise InputError(f"two of the channels {', '.join(names)} have one name; give their images other names")
    read = [channel.image for channel in (*plan.channels, plan.probability) if channel is not None]
    for image in (*read, plan.segmentation):
        if image is not None and (image.shape, image.n_frames) != (plan.shape, plan.n_frames):
            raise InputError(
                f"{image.uri} is {image.shape} with {image.n_frames} frame(s), the objects lie in {plan.shape} with "
                f"{plan.n_frames}; they have to be of one size"
            )


def _channels(name: str, image: Image) -> list[_Channel]:
    if image.dtype.kind not in "biuf":
        raise InputError(f"{image.uri} holds {image.dtype}; intensities are numbers")
    names = image.channel_names
    if len(names) == 1:
        return [_Channel(name, image, 0)]
    # Rounds of staining often repeat a name: DAPI 1, CD3, DAPI 3.
    told = [f"{channel} {i}" if names.count(channel) > 1 else channel for i, channel in enumerate(names, 1)]
    return [_Channel(f"{name}-{channel}", image, i) for i, channel in enumerate(told)]


def _probability(image: Image, channel: int) -> _Channel:
    if image.dtype.str[1:] not in FULL and image.dtype.kind != "f":
        raise InputError(f"{image.uri} holds {image.dtype}; probabilities are uint8, uint16 or float from 0 to 1")
    if not 0 <= channel < len(image.channel_names):
        raise unknown("class", channel, range(len(image.channel_names)))
    return _Channel("probability", image, channel)


def _segmentation(image: Image, names: Sequence[str]) -> Image:
    if image.dtype.kind not in "bui":
        raise InputError(
            f"{image.uri} holds {image.dtype}; a segmentation holds the numbers of classes, 1 to {len(names)}"
        )
    if not names:
        raise InputError(
            f"the classes of {image.uri} have no names; name them, in the order of their numbers from 1 on"
        )
    if len(set(names)) < len(names):
        raise InputError(f"two of the classes {', '.join(names)} of {image.uri} have one name; give them other names")
    return image


# ---------------------------------------------------------------- adding up


@dataclass(frozen=True, eq=False)
class _Parts:
    """What was added up, a row per label of a frame. t, label : (n,) int64. sums : {name: (n, ...)}.

    spans : (n_spans, 5) int64: t, label, row, first and last pixel. pairs : (n_pairs, 3) int64: t and two labels that touch.
    """

    t: NDArray[np.int64]
    label: NDArray[np.int64]
    sums: dict[str, NDArray]
    spans: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 5), np.int64))
    pairs: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 3), np.int64))


def _added(plan: _Plan, progress: Progress | None) -> _Parts:
    """Every object's sums, sorted by frame and label."""
    nothing = {name: np.zeros((0, *tail), dtype) for name, (_, dtype, tail) in plan.sums.items()}
    parts = {-1: _Parts(np.zeros(0, np.int64), np.zeros(0, np.int64), nothing)}
    blocks = (b for t in range(plan.n_frames) for b in grid(whole(plan.shape, t), (plan.edge,) * plan.ndim))
    done, total = 0, plan.n_frames * math.prod(plan.shape)
    for (number, region), part in run_over(lambda item: _block(plan, item[1]), enumerate(blocks), threads=plan.threads):
        if part is not None:
            parts[number] = part
        done += region.size
        if progress is not None:
            progress("measuring", done, total)
    return _joined(plan, [parts[number] for number in sorted(parts)])


def _joined(plan: _Plan, parts: Sequence[_Parts]) -> _Parts:
    """Rows of the same label and frame become one. The order of `parts` decides in which order floats are added."""
    t, label = (np.concatenate([getattr(p, name) for p in parts]) for name in ("t", "label"))
    groups, (t, label) = _grouped(t, label)
    sums = {
        name: groups.reduced(how, np.concatenate([p.sums[name] for p in parts]))
        for name, (how, _, _) in plan.sums.items()
    }
    rows = np.concatenate([p.spans for p in parts])
    of_rows, keys = _grouped(*rows.T[:3])
    ends = [of_rows.reduced(how, rows[:, column]) for how, column in ((np.minimum, 3), (np.maximum, 4))]
    pairs = np.unique(np.concatenate([p.pairs for p in parts]), axis=0)
    return _Parts(t, label, sums, np.stack([*keys, *ends], axis=1), pairs)


def _grouped(*keys: NDArray[np.int64]) -> tuple[Groups, list[NDArray[np.int64]]]:
    """(groups of rows with equal keys, the keys of each), sorted by the first key, then the second, and so on."""
    order = np.lexsort(keys[::-1])
    ordered = [key[order] for key in keys]
    is_new = np.ones(len(order), bool)
    is_new[1:] = np.any([key[1:] != key[:-1] for key in ordered], axis=0)
    starts = np.flatnonzero(is_new)
    return Groups(order, starts), [key[starts] for key in ordered]


def _block(plan: _Plan, region: Region) -> _Parts | None:
    """What the labels of a block add up to; None where there is none."""
    grown = region.grown((plan.halo,) * plan.ndim).clipped(plan.shape)
    inside = region.slices_in(grown)
    drawn = plan.labels(grown)
    if not drawn[inside].any():
        return None
    numbers = np.empty(drawn.shape, np.int32)
    ids = compact(np.ascontiguousarray(drawn).ravel(), numbers.ravel())
    if ids.min() < 0:
        raise InputError(
            f"an object has the number {ids.min()}; the numbers of objects are 1 to {np.iinfo(np.int64).max}"
        )
    mine = np.ascontiguousarray(numbers[inside])
    sums = _sums(plan, region, mine, len(ids) - 1)
    if "outline" in sums:
        start, stop = ([s.start for s in inside], [s.stop for s in inside])
        outlines(numbers, np.array(start), np.array(stop), np.empty(numbers.shape, bool), sums["outline"])
    there = np.flatnonzero(sums["count"])
    sums = {name: values[there] for name, values in sums.items()}
    found = _Parts(np.full(len(there), region.t), ids[there], sums)
    if "outline" in sums:
        found = _with_spans(found, region, mine, ids)
    if "neighbors" in plan.what:
        pairs = np.sort(ids[touching(_three(numbers), *_corners(inside))], axis=1)
        found = _Parts(found.t, found.label, sums, found.spans, np.insert(pairs, 0, region.t, axis=1))
    return found


def _three(array: NDArray) -> NDArray:
    """As a volume; a plane as one of a single layer."""
    return array.reshape((1,) * (3 - array.ndim) + array.shape)


def _corners(inside: tuple[slice, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last corner, of a volume."""
    missing = 3 - len(inside)
    return np.array([0] * missing + [s.start for s in inside]), np.array([1] * missing + [s.stop for s in inside])


def _sums(plan: _Plan, region: Region, labels: NDArray[np.int32], n: int) -> dict[str, NDArray]:
    """All but the outline of `plan.sums` of the labels 0 .. n of a block; what is said of 0 means nothing."""
    sums = {name: np.zeros((n + 1, *tail), dtype) for name, (_, dtype, tail) in plan.sums.items()}
    boxes = boxes_of(labels, n, region, plan.shape)
    sums["count"][1:], sums["low"][1:], sums["high"][1:] = boxes.count, boxes.low, boxes.high
    start = np.array((0,) * (3 - plan.ndim) + region.start)
    products = sums.get("products", np.zeros((n + 1, 6), np.int64))
    moments(_three(labels), start, sums["sums"], products)
    flat = labels.ravel()
    for name, values in _values(plan.valued, region):
        smallest, largest = sums[f"min-{name}"], sums[f"max-{name}"]
        limits = np.iinfo(values.dtype) if values.dtype.kind != "f" else np.finfo(values.dtype)
        smallest[:], largest[:] = limits.max, limits.min
        intensities(flat, values.ravel(), sums[f"total-{name}"], smallest, largest)
    if "classes" in plan.what:
        assert plan.segmentation is not None
        classes = _stored(plan.segmentation, region)[0]
        is_byte = classes.dtype.kind in "bu" and classes.dtype.itemsize == 1
        shares(flat, np.ascontiguousarray(classes, np.uint8 if is_byte else np.int64).ravel(), sums["shares"])
    return sums


def _with_spans(found: _Parts, region: Region, labels: NDArray[np.int32], ids: NDArray[np.int64]) -> _Parts:
    """With the first and last pixel of each label in each row of a block."""
    n = len(ids)
    row, height = np.zeros(n, np.int64), np.zeros(n, np.int64)
    here = np.flatnonzero(np.isin(ids, found.label) & (ids > 0))
    row[here] = found.sums["low"][:, 0] - region.start[0]
    height[here] = found.sums["high"][:, 0] - found.sums["low"][:, 0]
    before = np.cumsum(height) - height
    first, last = np.full(height.sum(), labels.shape[1]), np.full(height.sum(), -1)
    spans(labels, row, before, first, last)
    of = np.repeat(np.arange(n), height)
    rows = np.arange(len(of)) - before[of] + row[of] + region.start[0]
    ends = first + region.start[1], last + region.start[1]
    all_spans = np.stack([np.full(len(of), region.t), ids[of], rows, *ends], axis=1)
    return _Parts(found.t, found.label, found.sums, all_spans[last >= 0])


# ---------------------------------------------------------------- from sums to measurements


def _numbered(name: str, values: NDArray) -> dict[str, NDArray]:
    """Columns NAME-0, NAME-1, ... of (n, k)."""
    return {f"{name}-{i}": column for i, column in enumerate(np.ascontiguousarray(values.T))}


def _basic(plan: _Plan, objects: _Parts) -> dict[str, NDArray]:
    count, low, high = (objects.sums[name] for name in ("count", "low", "high"))
    columns: dict[str, NDArray] = {"label": objects.label}
    if plan.n_frames > 1:
        columns["frame"] = objects.t
    columns["area"] = count
    if plan.pixel_size is not None:
        columns[f"area_um{plan.ndim}"] = count * math.prod(plan.pixel_size)
    inside = objects.sums["sums"][:, -plan.ndim :] - count[:, None] * low
    centroid = low + inside / count[:, None]
    columns |= _numbered("centroid", centroid)
    if plan.pixel_size is not None:
        columns |= _numbered("centroid_um", centroid * plan.pixel_size)
    columns |= _numbered("bbox", np.concatenate([low, high], axis=1))
    columns["equivalent_diameter_area"] = (2 * plan.ndim * count / math.pi) ** (1 / plan.ndim)
    columns["touches_border"] = ((low == 0) | (high == plan.shape)).any(1)
    return columns


def _intensity(plan: _Plan, objects: _Parts) -> dict[str, NDArray]:
    columns = {}
    for channel in plan.channels:
        total = _total(objects, channel, channel.name)
        columns[f"intensity_mean-{channel.name}"] = total / objects.sums["count"]
        for which in ("max", "min"):
            extreme = objects.sums[f"{which}-{channel.name}"]
            columns[f"intensity_{which}-{channel.name}"] = extreme.astype(channel.sum_dtype)
        columns[f"intensity_total-{channel.name}"] = total
    return columns


def _total(objects: _Parts, channel: _Channel, name: str) -> NDArray:
    """Sums of a channel; raises InputError where one of its values is no number."""
    total = objects.sums[f"total-{name}"]
    if not np.isfinite(total).all():
        raise _not_a_number(channel, objects, np.flatnonzero(~np.isfinite(total))[0], "in")
    return total


def _not_a_number(channel: _Channel, objects: _Parts, row: int, where: str) -> InputError:
    return InputError(
        f"{channel.image.uri} ({channel.name}) holds values that are no finite numbers {where} object {objects.label[row]}; "
        f"replace them{', or leave such pixels out of the objects' if where == 'in' else ''}"
    )


def _probabilities(plan: _Plan, objects: _Parts) -> dict[str, NDArray]:
    assert plan.probability is not None
    full = FULL.get(plan.probability.image.dtype.str[1:], 1.0)
    total = _total(objects, plan.probability, "")
    smallest, largest = objects.sums["min-"], objects.sums["max-"]
    if full == 1 and len(total) and not (smallest.min() >= 0 and largest.max() <= 1):
        raise InputError(
            f"{plan.probability.image.uri} holds {smallest.min():g} to {largest.max():g} in objects; probabilities are 0 to 1"
        )
    return {
        "probability_mean": total / full / objects.sums["count"],
        "probability_max": largest / full,
    }


def _class_fractions(plan: _Plan, objects: _Parts) -> dict[str, NDArray]:
    assert plan.segmentation is not None
    counted, count = objects.sums["shares"], objects.sums["count"]
    if (counted.sum(1) != count).any():
        label = objects.label[np.flatnonzero(counted.sum(1) != count)[0]]
        raise InputError(
            f"{plan.segmentation.uri} holds numbers beyond 0 to {len(plan.classes)} in object {label}; name every class"
        )
    columns = {f"fraction-{name}": counted[:, i] / count for i, name in enumerate(plan.classes, 1)}
    most = np.where(counted[:, 1:].any(1), counted[:, 1:].argmax(1) + 1, 0)
    return columns | {"class": np.array(("", *plan.classes))[most]}


def _shape(plan: _Plan, objects: _Parts) -> dict[str, NDArray]:
    spread = _spread(objects.sums, plan.ndim)
    values, vectors = _axes(spread)
    columns = _lengths(values, "length")
    if plan.pixel_size is not None:
        columns |= _lengths(_axes(spread * np.outer(plan.pixel_size, plan.pixel_size))[0], "length_um")
    if plan.ndim == 3:
        return columns | _numbered("inertia_tensor_eigvals", values) | _numbered("axis_major_direction", vectors)
    with np.errstate(invalid="ignore"):
        columns["eccentricity"] = np.where(values[:, 0] > 0, np.sqrt(1 - values[:, 1] / values[:, 0]), 0.0)
    down, right, both = spread[:, 0, 0], spread[:, 1, 1], spread[:, 0, 1]
    is_round = (down == right) & (both == 0)
    columns["orientation"] = np.where(is_round, -math.pi / 4, np.arctan2(2 * both, down - right) / 2)
    columns["perimeter"] = objects.sums["outline"] @ np.array([1, math.sqrt(2), (1 + math.sqrt(2)) / 2])
    _, label, row, first, last = np.ascontiguousarray(objects.spans.T)
    starts = _grouped(*objects.spans.T[:2])[0].starts
    hull = np.empty(len(starts), np.int64)
    hull_areas(np.append(starts, len(label)), row, first, last, hull)
    columns["solidity"] = objects.sums["count"] / hull
    return columns


def _spread(sums: Mapping[str, NDArray], ndim: int) -> NDArray[np.float64]:
    """Mean products of distances from the centroid along two axes, (n, ndim, ndim)."""
    count, low = sums["count"], np.zeros((len(sums["count"]), 3), np.int64)
    low[:, -ndim:] = sums["low"]
    total = sums["sums"] - count[:, None] * low
    spread = np.empty((len(count), 3, 3))
    for column, (a, b) in enumerate(((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))):
        # Counted from the box the numbers are small and exact; products of coordinates may have gone round 2^64, and come back.
        product = sums["products"][:, column] - low[:, a] * sums["sums"][:, b] - low[:, b] * total[:, a]
        spread[:, a, b] = spread[:, b, a] = _difference(count, product, total[:, a], total[:, b]) / count / count
    return spread[:, -ndim:, -ndim:]


def _difference(a: NDArray, b: NDArray, c: NDArray, d: NDArray) -> NDArray[np.float64]:
    """a * b - c * d of whole numbers (n,), rounded once."""
    small = (a.astype(float) * b < 2.0**62) & (c.astype(float) * d < 2.0**62)
    found = (a * b - c * d).astype(float)
    for i in np.flatnonzero(~small):
        found[i] = float(int(a[i]) * int(b[i]) - int(c[i]) * int(d[i]))
    return found


def _axes(spread: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(eigenvalues of inertia, descending; the direction of the longest axis, its largest part > 0), both (n, ndim)."""
    ndim = spread.shape[1]
    inertia = np.trace(spread, axis1=1, axis2=2)[:, None, None] * np.eye(ndim) - spread
    values, vectors = np.linalg.eigh(inertia)
    longest = vectors[:, :, 0]
    largest = np.take_along_axis(longest, np.abs(longest).argmax(1)[:, None], 1) if len(longest) else longest[:, :1]
    return np.clip(values[:, ::-1], 0, None), longest * np.sign(largest) + 0.0  # no -0


def _lengths(values: NDArray[np.float64], name: str) -> dict[str, NDArray]:
    """Lengths of the axes of the ellipse or ellipsoid that has these eigenvalues."""
    if values.shape[1] == 2:
        return {f"axis_major_{name}": 4 * np.sqrt(values[:, 0]), f"axis_minor_{name}": 4 * np.sqrt(values[:, 1])}
    signs = {"major": (1, 1, -1), "middle": (1, -1, 1), "minor": (-1, 1, 1)}
    return {
        f"axis_{which}_{name}": np.sqrt(np.clip(10 * (values @ np.array(sign)), 0, None))
        for which, sign in signs.items()
    }


def _neighbors(plan: _Plan, objects: _Parts) -> dict[str, NDArray]:
    t, one, other = objects.pairs.T
    # Every object once with 0, and with 1 as often as it touches another.
    groups, _ = _grouped(np.concatenate([objects.t, t, t]), np.concatenate([objects.label, one, other]))
    touches = np.ones(len(objects.t) + 2 * len(t), np.int64)
    touches[: len(objects.t)] = 0
    return {"n_neighbors": groups.reduced(np.add, touches)}


FINISH: dict[str, Callable[[_Plan, _Parts], dict[str, NDArray]]] = {
    "intensity": _intensity,
    "probability": _probabilities,
    "classes": _class_fractions,
    "shape": _shape,
    "neighbors": _neighbors,
}


# ---------------------------------------------------------------- around the objects


def _background(
    plan: _Plan, objects: _Parts, columns: Mapping[str, NDArray], progress: Progress | None
) -> dict[str, NDArray]:
    """ecc's measures, from a second look at the blocks that hold a centroid."""
    around = plan.measurements
    centres = np.stack([columns[f"centroid-{i}"] for i in range(plan.ndim)], 1)
    points = np.rint(centres).astype(np.int64)
    groups, _ = _grouped(objects.t, *(points // plan.edge).T)
    background, signal = (np.empty((len(points), len(plan.channels))) for _ in range(2))

    def work(rows: NDArray[np.int64]) -> None:
        here = points[rows]
        halo = (max(around.background_radius, around.signal_radius),) * plan.ndim
        box = Region(tuple(here.min(0).tolist()), tuple((here.max(0) + 1).tolist()), int(objects.t[rows[0]]))
        region = box.grown(halo).clipped(plan.shape)
        inside = np.zeros((len(rows), 3), np.int64)
        inside[:, -plan.ndim :] = here - region.start
        for i, (_, stored) in enumerate(_values({channel.name: channel for channel in plan.channels}, region)):
            values = _three(stored)
            found, largest, mean = (np.empty(len(rows)) for _ in range(3))
            percentiles_around(values, inside, around.background_radius, around.percentile, found)
            signals_around(values, inside, around.signal_radius, largest, mean)
            background[rows, i], signal[rows, i] = found, largest if around.signal == "max" else mean

    done, blocks = 0, np.split(groups.order, groups.starts[1:]) if len(points) else []
    for rows, _ in run_over(work, blocks, threads=plan.threads):
        done += len(rows)
        if progress is not None:
            progress("background", done, len(points))
    found: dict[str, NDArray] = {}
    for i, channel in enumerate(plan.channels):
        behind, stands = background[:, i], signal[:, i]
        unknown_rows = np.flatnonzero(~(np.isfinite(behind) & np.isfinite(stands)))
        if len(unknown_rows):
            raise _not_a_number(channel, objects, unknown_rows[0], "around")
        if around.signal == "object":
            stands = _total(objects, channel, channel.name) / objects.sums["count"]
        contrast = np.maximum(stands - behind, 0.0)
        found[f"background-{channel.name}"], found[f"contrast-{channel.name}"] = behind, contrast
        ratio = np.divide(contrast + behind, behind, out=np.full(len(behind), math.nan), where=behind != 0)
        found[f"signal_to_background-{channel.name}"] = ratio
    return found
