"""Strokes to a classifier, a classifier to probabilities, and the model file."""

import errno
import hashlib
import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brushwork._version import __version__
from brushwork.blocks import Block, Region, grid, run_over, thread_count, whole
from brushwork.errors import InputError, RunError
from brushwork.estimators import Estimator, Fitted, restore
from brushwork.estimators import estimator as estimator_named
from brushwork.features import FeatureSet
from brushwork.image import Image, as_image, check_is_image, is_anisotropic, n_channels
from brushwork.labels import MAX_CLASSES, Labels, painted_classes

log = logging.getLogger("brushwork")
FORMAT, FORMAT_VERSION = "brushwork-model", 1
PIXEL_SIZE_TOLERANCE = 0.05
# Blue background, orange foreground, then further hues that stay apart for colour-blind eyes (Okabe & Ito 2008).
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")
ROWS_EDGE = {2: 128, 3: 48}  # pixels; strokes are gathered in boxes up to this size
ARRAY_EDGE = {2: (512, 2048), 3: (64, 128, 256)}  # blocks of an image in memory


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


@dataclass(frozen=True, eq=False)
class Classifier:
    """A feature set, a fitted estimator, and what it was made for.

    features : resolved (FeatureSet.resolved). classes, colors : names and "#rrggbb" of the classes.
    channel_names, pixel_size, axes : of the images it was trained on. provenance : how it came to be, JSON.
    """

    features: FeatureSet = field(repr=False)
    classes: tuple[str, ...]
    estimator: Fitted = field(repr=False)
    ndim: int
    colors: tuple[str, ...] = ()
    channel_names: tuple[str, ...] = ()
    pixel_size: tuple[float, ...] | None = None
    axes: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def n_classes(self) -> int:
        return len(self.classes)

    @property
    def map_names(self) -> tuple[str, ...]:
        """A name for every feature map, with the channels' names."""
        return self.features.names_with(self.channel_names)

    def check_image(self, image: Image) -> None:
        """Raise InputError where this classifier cannot be applied to `image`."""
        check_is_image(image)
        what = image.uri or "the image"
        if len(image.shape) != self.ndim:
            raise InputError(
                f"{what} is {len(image.shape)}D, the model was trained in {self.ndim}D; "
                "say what its axes are, e.g. axes='yxc' or --axes yxc"
            )
        if n_channels(image) != len(self.channel_names):
            raise InputError(
                f"{what} has {n_channels(image)} channels ({', '.join(image.channel_names)}), the model was trained on "
                f"{len(self.channel_names)} ({', '.join(self.channel_names)}); give an image with the same channels, or set --axes"
            )
        if sorted(image.channel_names) == sorted(self.channel_names) and image.channel_names != self.channel_names:
            raise InputError(
                f"{what} has the model's channels in another order: {', '.join(image.channel_names)} instead of "
                f"{', '.join(self.channel_names)}; write its channels in that order"
            )
        if not same_pixel_size(image.pixel_size, self.pixel_size):
            raise InputError(
                f"{what} has pixels of {image.pixel_size} um, the model was trained at {self.pixel_size} um; features measure "
                "other sizes. Resample to the model's pixel size with --resample, or correct the image's with --pixel-size"
            )

    def block(self, image: Image, write: Region) -> Block:
        return self.features.block(image, write)

    def predict_block(self, image: Image, block: Block, out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Probabilities of a block's `write` region, (n_classes, *spatial) float32. The image is not checked."""
        if out is None:
            out = np.empty((self.n_classes, *block.write.shape), np.float32)
        scratch: NDArray[np.float32] | None = None
        for region, maps in self.features.tiles(image, block):
            flat = maps.reshape(len(maps), -1)
            if scratch is None or scratch.shape[1] != flat.shape[1]:
                scratch = np.empty((self.n_classes, flat.shape[1]), np.float32)
            tile = self.estimator.predict(flat, scratch).reshape(self.n_classes, *maps.shape[1:])
            valid = tuple(slice(0, n) for n in region.shape)
            out[(slice(None), *region.slices_in(block.write))] = tile[(slice(None), *valid)]
        return out

    def predict_array(
        self,
        array: NDArray[Any],
        *,
        axes: str | None = None,
        pixel_size: Sequence[float] | None = None,
        threads: int | None = None,
    ) -> NDArray[np.float32]:
        """Probabilities of an array in memory, (n_classes, *spatial) float32.

        array : (y, x) or (z, y, x); with channels say where they are, e.g. axes="yxc".
        pixel_size : micrometres per spatial axis; needed where sigmas are in micrometres, checked against the model's elsewhere.
        """
        image = as_image(np.asarray(array), axes=axes, pixel_size=pixel_size)
        self.check_image(image)
        if image.n_frames > 1:
            raise InputError(
                "an array with several frames was given; predict frame by frame, or with brushwork.predict"
            )
        out = np.empty((self.n_classes, *image.shape), np.float32)

        def one(region: Region) -> None:
            self.predict_block(image, self.block(image, region), out[(slice(None), *region.slices)])

        for _ in run_over(one, grid(whole(image.shape), ARRAY_EDGE[self.ndim]), threads=threads):
            pass
        return out

    def importances(self) -> dict[str, float]:
        """The share of each map in what was learnt, by name, largest first."""
        pairs = zip(self.map_names, self.estimator.importances().tolist())
        return dict(sorted(pairs, key=lambda pair: -pair[1]))

    def with_provenance(self, **more: Any) -> "Classifier":
        return replace(self, provenance={**self.provenance, **more})

    def save(self, path: str | Path) -> None:
        """Write a model file (.bwm): safetensors with a JSON header, written aside and renamed."""
        from safetensors.numpy import save

        header = {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "software": f"brushwork {__version__}",
            "features": self.features.to_json(),
            "classes": [{"name": n, "color": c} for n, c in zip(self.classes, self.colors)],
            "channels": list(self.channel_names),
            "pixel_size": self.pixel_size,
            "ndim": self.ndim,
            "axes": self.axes,
            "estimator": {"kind": self.estimator.kind, "settings": self.estimator.settings()},
            "provenance": self.provenance,
        }
        arrays = {name: np.ascontiguousarray(a) for name, a in self.estimator.arrays().items()}
        header["digest"] = _digest(arrays)
        data = save(arrays, metadata={FORMAT: json.dumps(header)})
        path = Path(path)
        aside = path.with_name(path.name + ".part")
        try:
            aside.write_bytes(data)
            aside.replace(path)
        except OSError as error:
            with suppress(OSError):
                aside.unlink(missing_ok=True)
            kind = RunError if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO) else InputError
            raise kind(
                f"the model could not be written to {path}: {error.strerror or error}; choose another place"
            ) from error

    @staticmethod
    def load(path: str | Path) -> "Classifier":
        """Open a model file. Raises InputError where it is missing, damaged or something else."""
        header, arrays = _read_model(Path(path))
        if header.get("digest") != _digest(arrays):
            raise InputError(
                f"{path} is damaged: its numbers are not those that were saved; copy it again or train it again"
            )
        try:
            pixel_size = header["pixel_size"]
            fitted = restore(header["estimator"]["kind"], arrays, header["estimator"]["settings"])
            model = Classifier(
                features=FeatureSet.from_json(header["features"]),
                classes=tuple(c["name"] for c in header["classes"]),
                estimator=fitted,
                ndim=header["ndim"],
                colors=tuple(c["color"] for c in header["classes"]),
                channel_names=tuple(header["channels"]),
                pixel_size=tuple(pixel_size) if pixel_size else None,
                axes=header["axes"],
                provenance=header["provenance"],
            )
            n_maps = model.features.n_maps
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{path} cannot be used: {error}. It is damaged, or needs a part of brushwork that is not installed here"
            ) from None
        if (fitted.n_classes, fitted.n_maps) != (model.n_classes, n_maps):
            raise InputError(
                f"{path} is a damaged model file: its estimator and its features do not fit; train it again"
            )
        return model


def _read_model(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise InputError(f"there is no model file {path.absolute()}; train one with: brushwork train")
    try:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dictionary
    except (SafetensorError, OSError, ValueError) as error:
        start = path.read_bytes()[:4]
        looks = (
            "a zip archive"
            if start[:2] == b"PK"
            else "a pickle"
            if start[:1] == b"\x80"
            else "damaged, or something else"
        )
        raise InputError(
            f"{path} is not a brushwork model ({looks}: {error}); a model is a .bwm file from brushwork train"
        ) from None
    if FORMAT not in metadata:
        raise InputError(f"{path} is a safetensors file but not a brushwork model; train one with: brushwork train")
    try:
        header = json.loads(metadata[FORMAT])
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is a damaged model file ({error}); train it again") from None
    if not isinstance(header, dict):
        raise InputError(f"{path} is a damaged model file (its header is no object); train it again")
    if header.get("version", 0) > FORMAT_VERSION:
        raise InputError(
            f"{path} has model format {header['version']}, this brushwork reads up to {FORMAT_VERSION}; update brushwork"
        )
    return header, arrays


def _digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    """A checksum of the estimator's numbers: a flipped bit would change probabilities without a word."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode() + arrays[name].tobytes())
    return digest.hexdigest()


def same_pixel_size(a: tuple[float, ...] | None, b: tuple[float, ...] | None) -> bool:
    """Whether two pixel sizes agree within 5 %; an unknown one agrees with any."""
    return a is None or b is None or bool(np.allclose(a, b, rtol=PIXEL_SIZE_TOLERANCE, atol=0))


Examples = Sequence[tuple[Image, Labels]]


def training_rows(examples: Examples, features: FeatureSet, *, threads: int | None = None) -> TrainingRows:
    """Feature rows at all painted pixels, in the order of images, then of blocks, then of pixels."""
    parts, first_stroke = [], 0
    for i, (image, labels) in enumerate(examples):
        for rows, chosen in _rows_of(image, labels, features, threads):
            n = len(chosen)
            strokes = chosen.strokes.astype(np.int64) + first_stroke
            parts.append(TrainingRows(rows, chosen.classes.astype(np.int64) - 1, strokes, np.full(n, i)))
        first_stroke += int(labels.strokes.max()) + 1 if len(labels) else 0
    if not parts:
        return TrainingRows(np.zeros((0, features.n_maps), np.float32), *(np.zeros(0, np.int64) for _ in range(3)))
    fields = ("rows", "y", "strokes", "images")
    return TrainingRows(*(np.concatenate([getattr(p, name) for p in parts]) for name in fields))


def _rows_of(
    image: Image, labels: Labels, features: FeatureSet, threads: int | None
) -> list[tuple[NDArray[np.float32], Labels]]:
    if labels.shape != image.shape:
        raise InputError(f"labels of {labels.shape} cannot belong to {image.uri or 'an image'} of {image.shape}")
    if len(labels) and (labels.frames.max() >= image.n_frames or labels.has_time != (image.n_frames > 1)):
        raise InputError(
            f"{image.uri or 'the image'} has {image.n_frames} frame(s); its labels "
            f"{'go up to frame ' + str(labels.frames.max()) if labels.has_time else 'do not say which frame they are on'}"
        )
    edge = ROWS_EDGE[len(image.shape)]
    cell_of = np.column_stack([labels.frames, labels.positions // edge])
    _, first, cell_of = np.unique(cell_of, axis=0, return_index=True, return_inverse=True)
    members = np.split(np.argsort(cell_of, kind="stable"), np.cumsum(np.bincount(cell_of, minlength=len(first)))[:-1])

    def one(cell: int) -> tuple[NDArray[np.float32], Labels]:
        chosen = labels.chosen(members[cell])
        at = chosen.positions
        tight = Region(tuple(at.min(0).tolist()), tuple((at.max(0) + 1).tolist()), int(chosen.frames[0]))
        return _rows_in(image, features, tight, at), chosen

    if not len(labels):
        return []
    done = dict(run_over(one, range(len(members)), threads=threads))
    return [done[cell] for cell in sorted(done)]


def _rows_in(image: Image, features: FeatureSet, box: Region, at: NDArray[np.int64]) -> NDArray[np.float32]:
    """(n, n_maps) at positions `at` inside `box`."""
    rows = np.empty((len(at), features.n_maps), np.float32)
    for region, maps in features.tiles(image, features.block(image, box)):
        mine = ((at >= region.start) & (at < region.stop)).all(1)
        index = np.ravel_multi_index(tuple((at[mine] - region.start).T), maps.shape[1:])
        rows[mine] = maps.reshape(len(maps), -1)[:, index].T
    return rows


def train(
    examples: Iterable[tuple[Image, Labels]],
    features: FeatureSet | str = "all",
    *,
    classes: Sequence[str] | None = None,
    colors: Sequence[str] | None = None,
    channels: Sequence[int | str] | None = None,
    estimator: str | Estimator = "symmetric-forest",
    seed: int = 0,
    threads: int | None = None,
) -> Classifier:
    """Train a classifier on painted pixels.

    examples : pairs (image, labels). features : a set, or a preset's name or selection (features.GRAMMAR).
    classes : their names, in the order of the labels' values from 1; without them "class 1", "class 2", ...
    channels : the channels to look at, indices or names; all by default.
    estimator : a name (estimators.ESTIMATORS, "sklearn:CLASS") or a recipe. seed : the same strokes and seed, the same model.
    Raises InputError where there is nothing to learn: painted pixels of fewer than two classes, images that differ in kind.
    """
    return fit(
        prepare(examples, features, classes=classes, channels=channels, threads=threads),
        estimator,
        seed=seed,
        colors=colors,
    )


@dataclass(frozen=True, eq=False)
class Prepared:
    """Everything of a training but the estimator: what held-out strokes and suggestions reuse."""

    table: TrainingRows
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
    threads: int | None = None,
) -> Prepared:
    """Check examples and compute their feature rows; see `train`."""
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
    table = training_rows(examples, features, threads=threads)
    return Prepared(
        table, features, names, first, tuple(image.uri for image, _ in examples), thread_count(threads), notes
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
    p, table = prepared, prepared.table
    fitted = estimator_named(estimator).fit(
        table.rows, table.y, n_classes=p.n_classes, strokes=table.strokes, seed=int(seed), threads=p.threads
    )
    pixels = np.bincount(table.y, minlength=p.n_classes)
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
        provenance={
            "software": f"brushwork {__version__}",
            "seed": int(seed),
            "notes": list(p.notes),
            "estimator": estimator if isinstance(estimator, str) else repr(estimator),
            "images": [Path(uri).name for uri in p.uris],
            "pixels": dict(zip(p.classes, pixels.tolist())),
            "strokes": dict(zip(p.classes, strokes)),
        },
    )


def _colors(n: int, colors: Sequence[str] | None) -> tuple[str, ...]:
    if colors is None:
        return tuple(COLORS[i % len(COLORS)] for i in range(n))
    if len(colors) != n:
        raise InputError(f"{len(colors)} colours were given for {n} classes; give one per class")
    for color in colors:
        if not re.fullmatch(r"#[0-9a-fA-F]{6}", color):
            raise InputError(f"{color!r} is not a colour; give red, green and blue as #rrggbb, e.g. #E69F00")
    return tuple(colors)


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
