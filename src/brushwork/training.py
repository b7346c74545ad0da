"""Strokes to a classifier: rows at painted pixels, what is around them, and the fit."""

import logging
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from brushwork import priors as class_priors
from brushwork._version import __version__
from brushwork.blocks import Region, run_over, thread_count
from brushwork.classifier import Classifier, same_pixel_size
from brushwork.errors import InputError
from brushwork.estimators import Estimator, Fitted
from brushwork.estimators import estimator as estimator_named
from brushwork.features import FeatureSet
from brushwork.image import Image, check_is_image, is_anisotropic, n_channels
from brushwork.labels import MAX_CLASSES, Labels, painted_classes
from brushwork.priors import cells_of

log = logging.getLogger("brushwork")
# Blue background, orange foreground, then further hues that stay apart for colour-blind eyes (Okabe & Ito 2008).
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """The painted pixels of all images as an estimator sees them.

    rows : (n, n_maps) float32. y : (n,) int64, classes from 0. strokes : (n,) int64, numbered on over the images.
    images : (n,) int64, which image a pixel is from.
    """

    rows: NDArray[np.float32] = field(repr=False)
    y: NDArray[np.int64] = field(repr=False)
    strokes: NDArray[np.int64] = field(repr=False)
    images: NDArray[np.int64] = field(repr=False)


Examples = Sequence[tuple[Image, Labels]]
RowsAt = Callable[[Image, FeatureSet, int, NDArray[np.int64]], NDArray[np.float32]]
RowsOf = Callable[[Image, FeatureSet, Labels], NDArray[np.float32]]


def rows_at(image: Image, features: FeatureSet, t: int, at: NDArray[np.int64]) -> NDArray[np.float32]:
    """(n, n_maps) of frame `t` at positions `at` (n, ndim), which lie close to each other."""
    box = Region(tuple(at.min(0).tolist()), tuple((at.max(0) + 1).tolist()), t)
    rows = np.empty((len(at), features.n_maps), np.float32)
    for region, maps in features.tiles(image, features.block(image, box)):
        mine = ((at >= region.start) & (at < region.stop)).all(1)
        index = np.ravel_multi_index(tuple((at[mine] - region.start).T), maps.shape[1:])
        rows[mine] = maps.reshape(len(maps), -1)[:, index].T
    return rows


def rows_of(
    image: Image, features: FeatureSet, labels: Labels, *, threads: int | None = None, rows_at: RowsAt = rows_at
) -> NDArray[np.float32]:
    """(n, n_maps) at the pixels of some labels, cell by cell in threads. rows_at : where the rows of a cell come from."""
    cell_of = cells_of(labels)
    order = np.argsort(cell_of, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(cell_of[order])) + 1) if len(labels) else []
    rows = np.empty((len(labels), features.n_maps), np.float32)

    def fill(cell: int) -> None:
        mine = members[cell]
        rows[mine] = rows_at(image, features, int(labels.frames[mine[0]]), labels.positions[mine])

    if len(members) == 1:
        fill(0)
    else:
        for _ in run_over(fill, range(len(members)), threads=threads):
            pass
    return rows


def training_rows(
    examples: Examples, features: FeatureSet, *, threads: int | None = None, rows_of: RowsOf | None = None
) -> TrainingRows:
    """Feature rows at all painted pixels, in the order of images, then of cells, then of pixels.

    rows_of : where rows come from; who paints keeps the rows of earlier strokes.
    """
    compute = rows_of or _computed(threads)
    parts, first_stroke = [], 0
    for i, (image, labels) in enumerate(examples):
        _check_labels(image, labels)
        if len(labels):
            ordered = labels.chosen(np.argsort(cells_of(labels), kind="stable"))
            classes, strokes = ordered.classes.astype(np.int64) - 1, ordered.strokes.astype(np.int64) + first_stroke
            parts.append(TrainingRows(compute(image, features, ordered), classes, strokes, np.full(len(labels), i)))
            first_stroke += int(labels.strokes.max()) + 1
    if not parts:
        return TrainingRows(np.zeros((0, features.n_maps), np.float32), *(np.zeros(0, np.int64) for _ in range(3)))
    fields = ("rows", "y", "strokes", "images")
    return TrainingRows(*(np.concatenate([getattr(p, name) for p in parts]) for name in fields))


def rows_around(
    examples: Examples, features: FeatureSet, *, threads: int | None = None, rows_of: RowsOf | None = None
) -> NDArray[np.float32]:
    """(n, n_maps) rows at a sample of pixels around the strokes (priors.around); without NaN and infinity."""
    compute = rows_of or _computed(threads)
    sampled = class_priors.around([labels for _, labels in examples])
    rows = np.concatenate([compute(image, features, sample) for (image, _), sample in zip(examples, sampled)])
    return rows[np.isfinite(rows).all(1)]


def _computed(threads: int | None) -> RowsOf:
    return partial(rows_of, threads=threads)


def _check_labels(image: Image, labels: Labels) -> None:
    if labels.shape != image.shape:
        raise InputError(f"labels of {labels.shape} cannot belong to {image.uri or 'an image'} of {image.shape}")
    if len(labels) and (labels.frames.max() >= image.n_frames or labels.has_time != (image.n_frames > 1)):
        raise InputError(
            f"{image.uri or 'the image'} has {image.n_frames} frame(s); its labels "
            f"{'go up to frame ' + str(labels.frames.max()) if labels.has_time else 'do not say which frame they are on'}"
        )


def train(
    examples: Iterable[tuple[Image, Labels]],
    features: FeatureSet | str = "all",
    *,
    classes: Sequence[str] | None = None,
    colors: Sequence[str] | None = None,
    channels: Sequence[int | str] | None = None,
    estimator: str | Estimator = "symmetric-forest",
    priors: str = "image",
    seed: int = 0,
    threads: int | None = None,
) -> Classifier:
    """Train a classifier on painted pixels.

    examples : pairs (image, labels). features : a set, or a preset's name or selection (features.GRAMMAR).
    classes : their names, in the order of the labels' values from 1; without them "class 1", "class 2", ...
    channels : the channels to look at, indices or names; all by default.
    estimator : a name (estimators.ESTIMATORS, "sklearn:CLASS") or a recipe. seed : the same strokes and seed, the same model.
    priors : how common classes are taken to be: "image", half-way between their shares of the painted pixels and those that are
        estimated around the strokes (see brushwork.priors), or "strokes", as painted.
    Raises InputError where there is nothing to learn: painted pixels of fewer than two classes, images that differ in kind.
    """
    return fit(
        prepare(examples, features, classes=classes, channels=channels, priors=priors, threads=threads),
        estimator,
        seed=seed,
        colors=colors,
    )


@dataclass(frozen=True, eq=False)
class Prepared:
    """Everything of a training but the estimator: what held-out strokes and suggestions reuse.

    around : (n, n_maps) float32, a sample of pixels around the strokes; None where priors are the strokes'.
    """

    table: TrainingRows
    around: NDArray[np.float32] | None
    features: FeatureSet
    classes: tuple[str, ...]
    image: Image  # one that speaks for all: channels, pixel size
    uris: tuple[str, ...]
    threads: int
    notes: tuple[str, ...] = ()  # what the images settled rather than the user

    @property
    def n_classes(self) -> int:
        return len(self.classes)


def prepare(
    examples: Iterable[tuple[Image, Labels]],
    features: FeatureSet | str = "all",
    *,
    classes: Sequence[str] | None = None,
    channels: Sequence[int | str] | None = None,
    priors: str = "image",
    threads: int | None = None,
    rows_of: RowsOf | None = None,
) -> Prepared:
    """Check examples and compute their feature rows; see `train` and `training_rows`."""
    class_priors.check(priors)
    examples = list(examples)
    if not examples:
        raise InputError("training needs at least one image with labels; none was given")
    for pair in examples:
        if not (isinstance(pair, tuple | list) and len(pair) == 2 and isinstance(pair[1], Labels)):
            raise InputError(
                f"training takes a list of (image, labels) pairs, labels from open_labels; {_kind(pair)} was given"
            )
        check_is_image(pair[0])
    names = _class_names(examples, classes)
    # The first image with a known pixel size speaks for all.
    first = next((image for image, _ in examples if image.pixel_size is not None), examples[0][0])
    for image, _ in examples:
        _check_same_kind(first, image)
    if isinstance(features, str):
        features = FeatureSet.parse(features)
    asked = features
    for image in sorted((image for image, _ in examples), key=lambda i: min(i.shape)):
        features = features.resolved(image, channels=channels)  # what fits the smallest image fits all
    notes = _notes(asked, features, min((image for image, _ in examples), key=lambda i: min(i.shape)))
    for note in notes:
        log.info(note)
    table = training_rows(examples, features, threads=threads, rows_of=rows_of)
    around = rows_around(examples, features, threads=threads, rows_of=rows_of) if priors == "image" else None
    return Prepared(
        table, around, features, names, first, tuple(image.uri for image, _ in examples), thread_count(threads), notes
    )


def _notes(asked: FeatureSet, settled: FeatureSet, image: Image) -> tuple[str, ...]:
    """What has to be told: 2D or 3D where the user did not say, and sigmas that were left out. image : the smallest one."""
    notes = []
    if len(image.shape) == 3 and any(f.in_2d is None for f in asked.features):
        if any(f.in_2d for f in settled.features):
            coarse = f"z is at least 3 times as coarse as y and x ({image.pixel_size} um)"
            why = coarse if is_anisotropic(image.pixel_size) else f"there are only {image.shape[0]} sections"
            notes.append(
                f"Features are computed in 2D, section by section: {why}. ':SIGMA/3d' in the selection overrides."
            )
        elif image.pixel_size is None:
            notes.append(
                "The pixel size is unknown; features are computed in 3D as if voxels were cubes (--pixel-size)."
            )
    dropped = {f.sigma for f in asked.features} - {f.sigma for f in settled.features}
    if dropped:
        sigmas = ", ".join(f"{s:g}" for s in sorted(dropped))
        notes.append(f"Left out because too large for an image of {image.shape}: sigma {sigmas}.")
    return tuple(notes)


def fit(
    prepared: Prepared,
    estimator: str | Estimator = "symmetric-forest",
    *,
    seed: int = 0,
    colors: Sequence[str] | None = None,
) -> Classifier:
    """Fit an estimator to prepared rows; see `train`."""
    p, table, recipe = prepared, prepared.table, estimator_named(estimator)
    fitted = recipe.fit(
        table.rows, table.y, n_classes=p.n_classes, strokes=table.strokes, seed=int(seed), threads=p.threads
    )
    pixels = np.bincount(table.y, minlength=p.n_classes)
    shares, weights = _priors(p, recipe, fitted, pixels)
    strokes = [len(np.unique(table.strokes[table.y == c])) for c in range(p.n_classes)]
    return Classifier(
        features=p.features,
        classes=p.classes,
        estimator=fitted,
        ndim=len(p.image.shape),
        colors=_colors(p.n_classes, colors),
        channel_names=tuple(p.image.channel_names),
        pixel_size=p.image.pixel_size,
        axes=p.image.axes,
        class_weights=weights,
        provenance={
            "software": f"brushwork {__version__}",
            "seed": int(seed),
            "notes": list(p.notes),
            "estimator": estimator if isinstance(estimator, str) else repr(estimator),
            "images": [Path(uri).name for uri in p.uris],
            "pixels": dict(zip(p.classes, pixels.tolist())),
            "strokes": dict(zip(p.classes, strokes)),
            **({"shares around the strokes": dict(zip(p.classes, shares))} if shares else {}),
        },
    )


def _priors(
    prepared: Prepared, recipe: Estimator, fitted: Fitted, pixels: NDArray[np.int64]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(shares of the classes around the strokes, weights of the classes), both empty where priors are the strokes'."""
    if prepared.around is None or not len(prepared.around):
        return (), ()
    n = len(pixels)
    painted = np.full(n, 1 / n) if getattr(recipe, "balanced", False) else pixels / pixels.sum()
    shares = fitted.predict(np.ascontiguousarray(prepared.around.T)).mean(1, dtype=np.float64)
    return tuple(shares.round(4).tolist()), class_priors.weights(painted, shares)


def _colors(n: int, colors: Sequence[str] | None) -> tuple[str, ...]:
    if colors is None:
        return tuple(COLORS[i % len(COLORS)] for i in range(n))
    if len(colors) != n:
        raise InputError(f"{len(colors)} colours were given for {n} classes; give one per class")
    return tuple(checked_color(color) for color in colors)


def checked_color(color: str) -> str:
    """The colour, "#rrggbb"; raises InputError for anything else."""
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", color):
        raise InputError(f"{color!r} is not a colour; give red, green and blue as #rrggbb, e.g. #E69F00")
    return color


def _listed(values: NDArray[np.int64]) -> str:
    few = ", ".join(map(str, values[:12]))
    return few if len(values) <= 12 else f"{few}, ... ({len(values)} in all: is this a label image?)"


def _kind(given: object) -> str:
    if isinstance(given, tuple | list):
        return f"({', '.join(type(part).__name__ for part in given)})"
    return f"a {type(given).__name__}"


def _class_names(examples: Examples, classes: Sequence[str] | None) -> tuple[str, ...]:
    counts = painted_classes(labels for _, labels in examples)
    highest = int(np.flatnonzero(counts).max()) + 1 if counts.any() else 0
    names = tuple(classes) if classes is not None else tuple(f"class {i + 1}" for i in range(highest))
    if (counts > 0).sum() < 2:
        painted = [names[i] if i < len(names) else f"class {i + 1}" for i in np.flatnonzero(counts)]
        found = f"only {painted[0]!r} is painted" if painted else "nothing is painted"
        raise InputError(f"Training needs painted pixels of at least two classes; {found}. Paint some background too.")
    if len(set(names)) != len(names) or not all(names):
        raise InputError(f"the class names {', '.join(map(repr, names))} must be different and not empty")
    values = _listed(np.flatnonzero(counts) + 1)
    if len(names) < highest:
        raise InputError(
            f"the labels hold the values {values} but {len(names)} names were given ({', '.join(names)}); name every value from 1 "
            f"to {highest}" + ("" if counts[:highest].all() else ", and number the labels 1, 2, ... without gaps")
        )
    unpainted = [n for n, count in zip(names, counts[: len(names)]) if not count]
    if unpainted:
        raise InputError(
            f"no pixel of {', '.join(map(repr, unpainted))} is painted: the labels hold the values {values}. Paint some, leave the "
            "name out, or number the labels 1, 2, ... without gaps"
        )
    if len(names) > MAX_CLASSES:
        raise InputError(f"{len(names)} classes were given; at most {MAX_CLASSES} are possible")
    return names


def _check_same_kind(first: Image, other: Image) -> None:
    if len(first.shape) != len(other.shape):
        raise InputError(
            f"{first.uri} is {len(first.shape)}D and {other.uri} is {len(other.shape)}D; train on one kind, or set --axes"
        )
    if n_channels(first) != n_channels(other):
        raise InputError(
            f"{first.uri} has {n_channels(first)} channels and {other.uri} has {n_channels(other)}; all need the same"
        )
    if not same_pixel_size(first.pixel_size, other.pixel_size):
        raise InputError(
            f"{first.uri} has pixels of {first.pixel_size} um and {other.uri} of {other.pixel_size} um; train on images of one "
            "pixel size, or correct it with --pixel-size"
        )
