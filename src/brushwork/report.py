"""The page about a run of `brushwork predict`: pictures, areas, accuracy, settings. Open it to change what the report says.

Numbers and pictures are made here, as values; report_template.html only arranges them.
"""

import base64
import io
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brushwork._version import __version__
from brushwork.accuracy import Accuracy, accuracy_of
from brushwork.blocks import Region, grid, run_over, whole
from brushwork.classifier import Classifier
from brushwork.errors import InputError, MissingPart, RunError
from brushwork.image import SPATIAL, ArrayImage, Image
from brushwork.io import READERS, open_image
from brushwork.io.writers import channel_files
from brushwork.jobs import read_record
from brushwork.previews import stretched

PREVIEW_EDGE = 720  # pixels; the longer side of a picture
SMALL_EDGE, MANY = 320, 24  # pixels, and the number of images from which pictures are that small
LARGEST_PLANE = 16384  # pixels; of a longer or wider section only the middle is shown
STRIP = 1 << 23  # pixels read at once for a picture
COUNTED_BYTES = 1 << 26  # bytes (float32) of an output read at once
TINT, FAINT_TINT, OUTLINE = 0.38, 0.12, 0.9  # opacity; the most common class is tinted faintly, so that the image shows
N_FEATURES = 12  # rows in the list of features
CONFUSED = 0.01  # share of a class from which a confusion is put into words
UNREADABLE = (ValueError, RuntimeError, OSError)  # what reading a moved, foreign or damaged file raises
RGB_NAMES = ({"r", "g", "b"}, {"red", "green", "blue"})


@dataclass(frozen=True)
class View:
    """What a picture shows: a box one section thick, and every how many pixels."""

    region: Region
    step: tuple[int, int]
    note: str = ""

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of the picture."""
        rows, columns = (n // s for n, s in zip(self.region.shape[-2:], self.step))
        return rows, columns


@dataclass(frozen=True)
class Area:
    """What one class covers of an image; `size` is in the sheet's unit, None where the pixel size is unknown."""

    name: str
    color: str
    pixels: int
    share: float
    size: float | None


@dataclass(frozen=True)
class Sheet:
    """What the page says about one image. Pictures are data URIs; areas is empty where nothing was classified."""

    name: str
    facts: tuple[str, ...]
    notes: tuple[str, ...] = ()
    pictures: tuple[tuple[str, str], ...] = ()  # caption, data URI
    areas: tuple[Area, ...] = ()
    ignored: int = 0
    unit: str = ""
    problem: str = ""


def write_report(folder: str | Path, out: str | Path | None = None) -> Path:
    """Write one self-contained HTML page about the folder that a prediction has written.

    Parameters
    ----------
    folder
        Holds the record of a run (`jobs.record`) and its outputs.
    out
        The page; `folder`/report.html by default.

    Returns
    -------
    Path
        The page written. Images that have moved are noted in it.

    Raises
    ------
    InputError
        Where the folder holds no run, or its model cannot be opened.
    RunError
        Where the page cannot be written.
    """
    folder = Path(folder)
    out = folder / "report.html" if out is None else Path(out)
    run = read_record(folder)
    classifier = _model_of(run, folder)
    edge = SMALL_EDGE if len(run["images"]) >= MANY else PREVIEW_EDGE
    models = {str(run.get("model")): classifier}
    sheets = [_sheet_by_its_model(entry, folder, run, models, edge) for entry in run["images"]]
    write_page(out, rendered("report_template.html", context(run, classifier, sheets)))
    return out


def write_page(out: Path, page: str) -> None:
    """Write a page aside and rename it; raises RunError where that fails."""
    aside = out.with_name(out.name + ".part")
    try:
        aside.write_text(page, encoding="utf-8")
        aside.replace(out)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise RunError(f"the report could not be written to {out}: {error.strerror or error}") from error


def rendered(template: str, values: Mapping[str, Any]) -> str:
    """A template of this package filled in; all values are escaped."""
    try:
        from jinja2 import Environment, FunctionLoader, StrictUndefined
    except ImportError:
        raise MissingPart("the report", "report") from None
    here = files("brushwork")
    environment = Environment(
        loader=FunctionLoader(lambda name: here.joinpath(name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "count": count, "size": size}
    return environment.get_template(template).render(values)


def _sheet_by_its_model(
    entry: Mapping[str, Any], folder: Path, run: Mapping[str, Any], models: dict[str, Classifier], edge: int
) -> Sheet:
    """The sheet of an entry, read by the model it was made with; models : those opened so far, the run's first, by path."""
    path = str(entry.get("model", run.get("model")))
    try:
        model = models[path] if path in models else models.setdefault(path, _model_of(entry, folder))
    except InputError as error:
        return Sheet(_name(entry), (str(entry["output"]),), problem=str(error))
    made = sheet_of(entry, folder, run, model, edge=edge)
    other = path != str(run.get("model"))
    return replace(made, facts=(*made.facts, f"predicted with {Path(path).name}")) if other else made


def _model_of(run: Mapping[str, Any], folder: Path) -> Classifier:
    """The model of a run (or of an entry of its record), where it was or beside the outputs."""
    path = Path(str(run.get("model", "")))
    for candidate in (path, folder / path.name, folder.parent / path.name):
        if candidate.is_file():
            return Classifier.load(candidate)
    raise InputError(f"the model of this run, {path}, is not there any more; put it back, or copy it into {folder}")


# ---------------------------------------------------------------------------------------------------------------- one image


@dataclass(frozen=True, eq=False)
class Opened:
    """An entry of a run's record with what could be opened of it; `image` is None where it is not there any more."""

    entry: Mapping[str, Any]
    kind: str
    result: Image
    image: Image | None
    notes: tuple[str, ...]

    @property
    def pixel_size(self) -> tuple[float, ...] | None:
        """As it was predicted with, else as the files say."""
        told = self.entry.get("pixel_size") or (self.image and self.image.pixel_size) or self.result.pixel_size
        return tuple(told) if told else None


def sheet_of(
    entry: Mapping[str, Any], folder: Path, run: Mapping[str, Any], classifier: Classifier, *, edge: int = PREVIEW_EDGE
) -> Sheet:
    """The sheet of one entry of a run's record; what cannot be read is said in it.

    edge : pixels, the longer side of its pictures.
    """
    try:
        return _sheet(_opened(entry, folder, kind_of(entry, run), classifier), classifier, edge)
    except UNREADABLE as error:
        return Sheet(_name(entry), (str(entry["output"]),), problem=f"The result could not be read: {error}")


def _name(entry: Mapping[str, Any]) -> str:
    return Path(str(entry["image"])).name


def _opened(entry: Mapping[str, Any], folder: Path, kind: str, classifier: Classifier) -> Opened:
    result = _opened_result(folder / str(entry["output"]), kind, classifier, str(entry.get("axes", "")))
    try:
        image = _opened_image(entry)
    except UNREADABLE as error:
        return Opened(
            entry, kind, result, None, (f"The image could not be opened, so only the result is shown: {error}",)
        )
    if tuple(image.shape) != tuple(result.shape):
        raise InputError(f"it is {tuple(result.shape)}, its image {tuple(image.shape)}; predict again")
    return Opened(entry, kind, result, image, ())


def kind_of(entry: Mapping[str, Any], run: Mapping[str, Any]) -> str:
    """What an output holds: one of jobs.OUTPUTS."""
    used = entry.get("settings") or run.get("settings", {})
    return str(entry.get("kind") or used.get("output", "probabilities"))


def _opened_image(entry: Mapping[str, Any]) -> Image:
    pixel_size = entry.get("pixel_size")
    return open_image(
        entry["image"],
        axes=entry.get("axes"),
        level=entry.get("level"),
        pixel_size=tuple(pixel_size) if pixel_size else None,
    )


def _opened_result(path: Path, kind: str, classifier: Classifier, image_axes: str) -> Image:
    """The output of a prediction; probabilities have one channel per class.

    image_axes : those of the image, to which formats that do not store axes are matched.
    """
    spatial = SPATIAL[-classifier.ndim :]
    if path.suffix.lower() == ".png":
        result: Image = _opened_png(path, kind, classifier)
    else:
        result = open_image(path, like="t" * ("t" in image_axes) + "c" * (kind != "segmentation") + spatial)
    wanted = classifier.n_classes if kind == "probabilities" else 1
    if kind != "features" and len(result.channel_names) != wanted:
        raise InputError(
            f"{path.name} has {len(result.channel_names)} channels, {kind} of this model {wanted}; predict again"
        )
    return result


def _opened_png(path: Path, kind: str, classifier: Classifier) -> Image:
    """A segmentation is a palette whose indices are the classes; several channels are one file each."""
    if kind in ("uncertainty", "segmentation"):
        stored = READERS[".png"](str(path))
        return ArrayImage(stored.palette or stored.levels[0].open(), "yx", str(path))
    names = classifier.classes if kind == "probabilities" else classifier.features.names
    planes = [open_image(file) for file in channel_files(path, names)]
    return ArrayImage(np.stack([plane.source[:] for plane in planes]), "cyx", str(path), tuple(names))


def _sheet(opened: Opened, classifier: Classifier, edge: int) -> Sheet:
    result, image = opened.result, opened.image
    view = view_of(tuple(result.shape), result.n_frames, edge)
    facts = (*_facts(opened, classifier), *([view.note] if view.note else []))
    made = Sheet(_name(opened.entry), facts, opened.notes)
    shown, caption = picture_of(image, view) if image is not None else (None, "")
    pictures = ((caption, data_uri(shown)),) if shown is not None else ()
    if opened.kind not in ("probabilities", "segmentation"):
        caption, values = scalar_picture(result, view, opened.kind)
        return replace(made, pictures=(*pictures, (caption, data_uri(values))))
    counts = class_counts(result, opened.kind, classifier.n_classes)
    areas, unit = areas_of(counts, classifier, opened.pixel_size)
    painted = overlaid(shown, class_picture(result, view, opened.kind), safe_colors(classifier), counts)
    caption = "Segmentation" if shown is None else "Segmentation overlaid"
    return replace(
        made, pictures=(*pictures, (caption, data_uri(painted))), areas=areas, unit=unit, ignored=int(counts[0])
    )


def _facts(opened: Opened, classifier: Classifier) -> tuple[str, ...]:
    """The line under an image's name."""
    shape, entry = opened.result.shape, opened.entry
    facts = [" × ".join(str(n) for n in shape) + " pixels (" + ", ".join(SPATIAL[-len(shape) :]) + ")"]
    if opened.result.n_frames > 1:
        facts.append(f"{opened.result.n_frames} frames")
    facts.append(micrometres(opened.pixel_size) if opened.pixel_size else "pixel size unknown")
    if entry.get("seconds") is not None:
        facts.append(f"{entry['seconds']:.2f} s")
    if _name(entry) in classifier.provenance.get("images", []):
        facts.append("the model was trained on strokes in an image of this name")
    return tuple(facts)


def micrometres(pixel_size: tuple[float, ...]) -> str:
    """A pixel size in words: one number where all axes agree."""
    if len(set(pixel_size)) == 1:
        return f"{pixel_size[0]:.4g} µm per pixel"
    return " × ".join(f"{v:.4g}" for v in pixel_size) + " µm per pixel"


# ------------------------------------------------------------------------------------------------------------------- areas


def classes_in(values: NDArray[np.float32], kind: str) -> NDArray[np.int64]:
    """The class of every pixel, (*spatial) from 1; 0 where a mask left it out.

    values : (channels, *spatial) of a segmentation or of probabilities; of equal probabilities the lower class wins.
    """
    if kind == "segmentation":
        return values[0].astype(np.int64)
    return np.where(values.any(0), values.argmax(0) + 1, 0)


def class_counts(result: Image, kind: str, n_classes: int) -> NDArray[np.int64]:
    """(1 + n_classes,) pixels of each class over all frames, the ignored ones first; counted block by block.

    result : a segmentation or probabilities. Raises InputError where it holds classes that the model has not.
    """

    def counted(region: Region) -> NDArray[np.int64]:
        counts = np.bincount(classes_in(result.read(region), kind).ravel(), minlength=1 + n_classes)
        if len(counts) > 1 + n_classes:
            raise InputError(f"{result.uri} holds class {len(counts) - 1}, the model has {n_classes}; predict again")
        return counts

    ndim = len(result.shape)
    edge = {2: 2048, 3: 256}[ndim]
    while edge > 64 and edge**ndim * len(result.channel_names) * 4 > COUNTED_BYTES:
        edge //= 2
    regions = (r for t in range(result.n_frames) for r in grid(whole(result.shape, t), (edge,) * ndim))
    return sum((counts for _, counts in run_over(counted, regions)), np.zeros(1 + n_classes, np.int64))


def areas_of(
    counts: NDArray[np.int64], classifier: Classifier, pixel_size: tuple[float, ...] | None
) -> tuple[tuple[Area, ...], str]:
    """The area of every class, with its share of the pixels that were not ignored; and the unit of sizes."""
    total = max(int(counts[1:].sum()), 1)
    one = float(np.prod(pixel_size)) if pixel_size else None
    areas = [
        Area(name, color, int(n), int(n) / total, int(n) * one if one is not None else None)
        for name, color, n in zip(classifier.classes, safe_colors(classifier), counts[1:])
    ]
    unit = {2: "µm²", 3: "µm³"}[len(pixel_size)] if pixel_size else ""
    return tuple(areas), unit


def safe_colors(classifier: Classifier) -> list[str]:
    """The classes' colours; gray for what is not #rrggbb, since they are written into style sheets."""
    return [c if re.fullmatch(r"#[0-9a-fA-F]{6}", c) else "#999999" for c in classifier.colors]


# ---------------------------------------------------------------------------------------------------------------- pictures


def view_of(shape: tuple[int, ...], n_frames: int = 1, edge: int = PREVIEW_EDGE) -> View:
    """What to show of an image of `shape` in a picture of at most `edge` pixels: the middle section of the middle frame."""
    t = n_frames // 2
    start, stop, notes = [0] * len(shape), list(shape), []
    if n_frames > 1:
        notes.append(f"frame {t + 1} of {n_frames}")
    if len(shape) == 3:
        start[0] = shape[0] // 2
        stop[0] = start[0] + 1
        notes.append(f"section {start[0] + 1} of {shape[0]}")
    for axis in (-2, -1):
        spare = max(shape[axis] - LARGEST_PLANE, 0)
        start[axis], stop[axis] = spare // 2, spare // 2 + shape[axis] - spare
    if max(shape[-2:]) > LARGEST_PLANE:
        notes.append(f"the middle {stop[-2] - start[-2]} × {stop[-1] - start[-1]} pixels")
    region = Region(tuple(start), tuple(stop), t)
    step = -(-max(region.shape[-2:]) // edge)
    steps = (min(step, region.shape[-2]), min(step, region.shape[-1]))
    return View(region, steps, f"pictures show {', '.join(notes)}, areas are of everything" if notes else "")


def strips(image: Image, view: View) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """The pixels of a view piece by piece: (rows of the picture, (c, rows * step, columns * step) float32)."""
    rows, columns = view.shape
    step_y, step_x = view.step
    region = view.region
    at_once = max(STRIP // (columns * step_x * step_y), 1)
    for first in range(0, rows, at_once):
        last = min(first + at_once, rows)
        start = (*region.start[:-2], region.start[-2] + first * step_y, region.start[-1])
        stop = (*region.stop[:-2], region.start[-2] + last * step_y, region.start[-1] + columns * step_x)
        values = image.read(replace(region, start=start, stop=stop))
        yield slice(first, last), values.reshape(len(values), *values.shape[-2:])


def averaged(image: Image, view: View, channels: tuple[int, ...]) -> NDArray[np.float32]:
    """(c, rows, columns) means over the pixels that fall into one pixel of the picture."""
    step_y, step_x = view.step
    out = np.empty((len(channels), *view.shape), np.float32)
    for rows, values in strips(image, view):
        parts = values[list(channels)].reshape(len(channels), -1, step_y, view.shape[1], step_x)
        out[:, rows] = parts.mean((2, 4))
    return out


def class_picture(result: Image, view: View, kind: str) -> NDArray[np.int64]:
    """(rows, columns) classes, each of the middle of the pixels that fall together."""
    step_y, step_x = view.step
    out = np.empty(view.shape, np.int64)
    for rows, values in strips(result, view):
        out[rows] = classes_in(values[:, step_y // 2 :: step_y, step_x // 2 :: step_x], kind)
    return out


def shown_channels(image: Image) -> tuple[int, ...]:
    """Three channels for colour images, else the first."""
    n, names = len(image.channel_names), [name.lower() for name in image.channel_names[:3]]
    is_rgb = n in (3, 4) and (set(names) in RGB_NAMES or (image.dtype == np.uint8 and image.axes.endswith("c")))
    return (0, 1, 2) if is_rgb else (0,)


def picture_of(image: Image, view: View) -> tuple[NDArray[np.uint8], str]:
    """An image as a picture, (rows, columns, 3), and its caption."""
    channels = shown_channels(image)
    values = np.moveaxis(averaged(image, view, channels), 0, -1)
    several = len(image.channel_names) > 1 and len(channels) == 1
    caption = f"Image, {image.channel_names[0]} (1 of {len(image.channel_names)} channels)" if several else "Image"
    return np.broadcast_to(stretched(values), (*view.shape, 3)), caption


def scalar_picture(result: Image, view: View, kind: str) -> tuple[str, NDArray[np.uint8]]:
    """Uncertainty, or the first map of features, as (caption, picture)."""
    values = averaged(result, view, (0,))[0][..., np.newaxis]
    if kind == "uncertainty":
        top = np.iinfo(result.dtype).max if result.dtype.kind in "ui" else 1.0
        caption, gray = (
            "Uncertainty: black is certain, white undecided",
            (values / top * 255).clip(0, 255).astype(np.uint8),
        )
    else:
        caption, gray = f"{result.channel_names[0]} (map 1 of {len(result.channel_names)})", stretched(values)
    return caption, np.broadcast_to(gray, (*view.shape, 3))


def overlaid(
    picture: NDArray[np.uint8] | None, classes: NDArray[np.int64], colors: list[str], counts: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """A picture tinted in the colours of its classes, with outlines; without a picture, the plain colours.

    picture : (rows, columns, 3) or None. classes : (rows, columns) from 0. counts : (1 + n_classes,) pixels per class of the
    whole image; the most common class is tinted faintly.
    """
    palette = np.array([(128, 128, 128)] + [tuple(bytes.fromhex(c[1:])) for c in colors], np.float32)
    if picture is None:
        return palette[classes].astype(np.uint8)
    opacity = np.full(len(palette), TINT, np.float32)
    opacity[0] = 0
    opacity[1 + int(counts[1:].argmax())] = FAINT_TINT
    alpha = np.where(outlines(classes), OUTLINE, opacity[classes])[..., np.newaxis]
    color = palette[_rarer_side(classes, counts)]
    return ((1 - alpha) * picture + alpha * color).round().astype(np.uint8)


def outlines(classes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(rows, columns): where a pixel differs from its right or lower neighbour."""
    edge = np.zeros(classes.shape, bool)
    edge[:, :-1] |= classes[:, :-1] != classes[:, 1:]
    edge[:-1] |= classes[:-1] != classes[1:]
    return edge


def _rarer_side(classes: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The class that draws each pixel: on an outline the rarer of the neighbours, so that objects are framed in their colour."""
    rank = np.empty(len(counts), np.int64)
    rank[np.argsort(counts, kind="stable")] = np.arange(len(counts))
    rank[0] = len(counts)  # what was left out draws nothing
    rarest = classes.copy()
    for here, there in (((slice(None), slice(-1)), (slice(None), slice(1, None))), ((slice(-1),), (slice(1, None),))):
        mine, other = rarest[here], classes[there]
        rarest[here] = np.where(rank[other] < rank[mine], other, mine)
    return rarest


def data_uri(picture: NDArray[np.uint8]) -> str:
    """A picture (rows, columns, 3) as a data URI: PNG where it is small enough to be looked at pixel by pixel, else JPEG."""
    from PIL import Image as Pillow

    small = max(picture.shape[:2]) <= 256
    buffer = io.BytesIO()
    drawn = Pillow.fromarray(np.ascontiguousarray(picture))
    if small:
        drawn.save(buffer, "PNG", optimize=True)
    else:
        # Without `optimize`, which fails on noise: its buffer has room for one byte per pixel.
        drawn.save(buffer, "JPEG", quality=88, subsampling=0)
    return f"data:image/{'png' if small else 'jpeg'};base64,{base64.b64encode(buffer.getvalue()).decode()}"


# --------------------------------------------------------------------------------------------------------- words and numbers


def percent(share: float) -> str:
    """0.1234 -> "12.3 %" (no break before the sign); what is not quite nothing or everything is not called so."""
    if 0 < share < 0.0005:
        return "< 0.1\u00a0%"
    if 0.9995 <= share < 1:
        return "> 99.9\u00a0%"
    return f"{100 * share:.1f}\u00a0%"


def count(n: int) -> str:
    """1234567 -> "1 234 567", with narrow spaces that do not break."""
    return f"{n:,}".replace(",", "\u202f")


def size(value: float) -> str:
    """An area or volume with at least three digits."""
    return count(round(value)) if value >= 1000 else f"{value:.3g}"


def context(run: Mapping[str, Any], classifier: Classifier, sheets: list[Sheet]) -> dict[str, Any]:
    """What the template is given."""
    accuracy = accuracy_of(classifier)
    return {
        "model_name": Path(str(run["model"])).stem,
        "classes": list(zip(classifier.classes, safe_colors(classifier))),
        "version": __version__,
        "sheets": sheets,
        "areas_known": [s for s in sheets if tuple(area.name for area in s.areas) == tuple(classifier.classes)],
        "accuracy": _accuracy_context(accuracy, classifier) if accuracy is not None else None,
        "weights": feature_weights(classifier),
        "settings": _settings(run, classifier),
        "families": families_of(classifier),
    }


def _accuracy_context(accuracy: Accuracy, classifier: Classifier) -> dict[str, Any]:
    pixels, strokes = (classifier.provenance.get(key, {}) for key in ("pixels", "strokes"))
    share = accuracy.confusion / np.maximum(accuracy.confusion.sum(1, keepdims=True), 1)
    rows = [
        {
            "name": name,
            "color": color,
            "pixels": pixels.get(name),
            "strokes": strokes.get(name),
            "held_out": int(accuracy.strokes[i]),
            "recall": None if np.isnan(accuracy.recall[i]) else float(accuracy.recall[i]),
            "confusion": list(zip(accuracy.confusion[i].tolist(), share[i].tolist())),
        }
        for i, (name, color) in enumerate(zip(accuracy.classes, safe_colors(classifier)))
    ]
    return {
        "rows": rows,
        "balanced": None if np.isnan(accuracy.balanced) else accuracy.balanced,
        "calibration_error": None if np.isnan(accuracy.calibration_error) else accuracy.calibration_error,
        "confused": [c for c in accuracy.confused() if c[2] >= CONFUSED][:3],
        "untested": [row["name"] for row in rows if row["recall"] is None],
        "few": [row["name"] for row in rows if row["recall"] is not None and row["held_out"] < 3],
        "reliability": reliability_points(accuracy),
    }


def reliability_points(accuracy: Accuracy) -> list[dict[str, Any]]:
    """One point per bin that holds pixels: confidence, share that was right, and a radius whose square is their number."""
    total = max(int(accuracy.counts.sum()), 1)
    bins = zip(accuracy.confidence.tolist(), accuracy.correct.tolist(), accuracy.counts.tolist())
    return [
        {"confidence": x, "correct": y, "pixels": n, "radius": 2.5 + 7 * (n / total) ** 0.5} for x, y, n in bins if n
    ]


def feature_weights(classifier: Classifier) -> dict[str, Any]:
    """The maps that carried most weight, and what the others had together."""
    weights = list(classifier.importances().items())
    first, others = weights[:N_FEATURES], weights[N_FEATURES:]
    largest = max((w for _, w in first), default=0) or 1
    return {
        "rows": [{"name": name, "share": w, "width": 100 * w / largest} for name, w in first],
        "others": len(others),
        "others_share": sum(w for _, w in others),
    }


def families_of(classifier: Classifier) -> list[tuple[str, str]]:
    """(family and how it works, its sigmas) in the order of the feature set."""
    found: dict[str, list[str]] = {}
    for f in classifier.features.features:
        where = " (2D per section)" if f.in_2d and classifier.ndim == 3 else ""
        one_of_several = f.channels is not None and len(f.channels) < len(classifier.channel_names)
        channels = f", channel {', '.join(map(str, f.channels or ()))}" if one_of_several else ""
        sigmas = found.setdefault(f"{f.family}{where}{channels}", [])
        text = f"{f.sigma:g}" + (" µm" if f.unit == "um" else "")
        if text not in sigmas:
            sigmas.append(text)
    return [(name, ", ".join(sigmas)) for name, sigmas in found.items()]


def _settings(run: Mapping[str, Any], classifier: Classifier) -> list[tuple[str, str]]:
    """Names and values for the list of settings."""
    made = classifier.provenance
    preset = classifier.features.name
    rows = [
        ("Model file", str(run["model"])),
        ("Trained on", ", ".join(str(i) for i in made.get("images", [])) or "not recorded"),
        ("Channels", ", ".join(classifier.channel_names)),
        ("Pixel size", micrometres(classifier.pixel_size) if classifier.pixel_size else "unknown"),
        ("Dimensions", f"{classifier.ndim}D"),
        ("Features", f"{classifier.features.n_maps} maps" + (f", preset {preset}" if preset else "")),
        ("Estimator", str(made.get("estimator", classifier.estimator.kind))),
        ("Seed", str(made.get("seed", "not recorded"))),
        (
            "Output",
            _all_of(run, lambda used: f"{used.get('output', 'not recorded')}, {used.get('dtype', '')}".rstrip(", ")),
        ),
        ("Resampled to the model's pixel size", _all_of(run, lambda used: "yes" if used.get("resample") else "no")),
        ("Model made with", str(made.get("software", "not recorded"))),
        ("Predicted with", str(run.get("software", "not recorded"))),
        ("Report made with", f"brushwork {__version__}"),
    ]
    if made.get("balanced"):
        rows.insert(7, ("Classes", "count the same, however much of each was painted"))
    return rows


def _all_of(run: Mapping[str, Any], said: Callable[[Mapping[str, Any]], str]) -> str:
    """What the settings of every image say, each answer once; of older records those of the run."""
    common = run.get("settings", {})
    return "; ".join(dict.fromkeys(said(entry.get("settings") or common) for entry in run["images"])) or said(common)
