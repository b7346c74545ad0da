"""A classifier: an image's blocks to probabilities, and the model file."""

import errno
import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brushwork._version import __version__
from brushwork.blocks import Block, Region, grid, run_over, whole
from brushwork.errors import InputError, RunError
from brushwork.estimators import Fitted, restore
from brushwork.features import FeatureSet
from brushwork.image import Image, View, as_image, check_is_image, n_channels
from brushwork.priors import reweigh

FORMAT, FORMAT_VERSION = "brushwork-model", 2
PLAIN_VERSION = 1  # of models without an earlier one
EARLIER = "earlier."  # before the names of an earlier model's arrays
PIXEL_SIZE_TOLERANCE = 0.05
ARRAY_EDGE = {2: (512, 2048), 3: (64, 128, 256)}  # blocks of an image in memory


@dataclass(frozen=True, eq=False)
class Classifier:
    """A feature set, a fitted estimator, and what it was made for.

    features : resolved (FeatureSet.resolved). classes, colors : names and "#rrggbb" of the classes.
    channel_names, pixel_size, axes : of the images it was trained on. provenance : how it came to be, JSON.
    class_weights : the estimator's probabilities are multiplied with these (see brushwork.priors); empty leaves them as they are.
    earlier : another classifier of the same images, whose probabilities are further channels here, behind the image's own.
    """

    features: FeatureSet = field(repr=False)
    classes: tuple[str, ...]
    estimator: Fitted = field(repr=False)
    ndim: int
    colors: tuple[str, ...] = ()
    channel_names: tuple[str, ...] = ()
    pixel_size: tuple[float, ...] | None = None
    axes: str = ""
    class_weights: tuple[float, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict, repr=False)
    earlier: "Classifier | None" = field(default=None, repr=False)

    @property
    def n_classes(self) -> int:
        return len(self.classes)

    @property
    def map_names(self) -> tuple[str, ...]:
        """A name for every feature map, with the channels' names."""
        further = self.earlier.classes if self.earlier is not None else ()
        return self.features.names_with((*self.channel_names, *further))

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

    def seen(self, image: Image) -> Image:
        """What the features are computed on: the image, with the probabilities of the earlier classifier where there is one."""
        return image if self.earlier is None else WithProbabilities(image, self.earlier)

    def predict_block(self, image: Image, block: Block, out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Probabilities of a block's `write` region, (n_classes, *spatial) float32. The image is not checked."""
        if out is None:
            out = np.empty((self.n_classes, *block.write.shape), np.float32)
        image = self.seen(image)
        scratch: NDArray[np.float32] | None = None
        for region, maps in self.features.tiles(image, block):
            flat = maps.reshape(len(maps), -1)
            if scratch is None or scratch.shape[1] != flat.shape[1]:
                scratch = np.empty((self.n_classes, flat.shape[1]), np.float32)
            tile = self.probabilities(flat, scratch, width=maps.shape[-1]).reshape(self.n_classes, *maps.shape[1:])
            valid = tuple(slice(0, n) for n in region.shape)
            out[(slice(None), *region.slices_in(block.write))] = tile[(slice(None), *valid)]
        return out

    def probabilities(
        self, maps: NDArray[np.float32], out: NDArray[np.float32] | None = None, *, width: int | None = None
    ) -> NDArray[np.float32]:
        """(n_classes, n) float32 of maps (n_maps, n) float32, written to `out` where it is given.

        width : pixels in a row of the tile that the maps are of. It changes no value; some estimators are quicker for it.
        """
        told = {"width": width} if getattr(self.estimator, "takes_width", False) else {}
        probabilities = self.estimator.predict(maps, out, **told)
        if self.class_weights:
            reweigh(probabilities, self.class_weights)
        return probabilities

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

        header, arrays = self._described()
        header |= {"format": FORMAT, "version": PLAIN_VERSION, "software": f"brushwork {__version__}"}
        if self.earlier is not None:
            facts, more = self.earlier._described()
            header |= {"version": FORMAT_VERSION, "earlier": facts}
            arrays |= {EARLIER + name: array for name, array in more.items()}
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

    def _described(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """What a model file says of this model alone, and its arrays."""
        header = {
            "features": self.features.to_json(),
            "classes": [{"name": n, "color": c} for n, c in zip(self.classes, self.colors)],
            "channels": list(self.channel_names),
            "pixel_size": self.pixel_size,
            "ndim": self.ndim,
            "axes": self.axes,
            "class_weights": self.class_weights,
            "estimator": {"kind": self.estimator.kind, "settings": self.estimator.settings()},
            "provenance": self.provenance,
        }
        return header, {name: np.ascontiguousarray(a) for name, a in self.estimator.arrays().items()}

    @staticmethod
    def load(path: str | Path) -> "Classifier":
        """Open a model file. Raises InputError where it is missing, damaged or something else."""
        header, arrays = _read_model(Path(path))
        if header.get("digest") != _digest(arrays):
            raise InputError(
                f"{path} is damaged: its numbers are not those that were saved; copy it again or train it again"
            )
        facts = header.get("earlier")
        earlier = None
        if facts is not None:
            theirs = {name.removeprefix(EARLIER): a for name, a in arrays.items() if name.startswith(EARLIER)}
            arrays = {name: a for name, a in arrays.items() if not name.startswith(EARLIER)}
            earlier = _restored(facts, theirs, Path(path))
        n_further = earlier.n_classes if earlier is not None else 0
        return replace(_restored(header, arrays, Path(path), n_further), earlier=earlier)


@dataclass(frozen=True, eq=False)
class WithProbabilities(View):
    """Another image, and a classifier's probabilities of it as further channels, in the numbers of the image.

    Whole numbers are what ilastik makes of probabilities before its second stage: uint8 holds 255 p, cut off.
    """

    classifier: Classifier

    @property
    def channel_names(self) -> tuple[str, ...]:
        return (*self.image.channel_names, *self.classifier.classes)

    def read(self, region: Region) -> NDArray[np.float32]:
        """(c, *spatial) float32."""
        probabilities = self.classifier.predict_block(self.image, self.classifier.block(self.image, region))
        if self.dtype.kind in "iu":
            limits = np.iinfo(self.dtype)
            probabilities = (limits.max - limits.min) * probabilities - limits.min
        return np.concatenate([self.image.read(region), probabilities.astype(self.dtype).astype(np.float32)])


def _restored(header: Mapping[str, Any], arrays: dict[str, NDArray[Any]], path: Path, n_further: int = 0) -> Classifier:
    """The model that a part of a model file describes. n_further : channels that an earlier classifier adds."""
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
            class_weights=_checked_weights(header.get("class_weights", ()), len(header["classes"])),
            provenance=header["provenance"],
        )
        _check_facts(model, n_further)
        n_maps = model.features.n_maps
    except (AttributeError, LookupError, TypeError, ValueError, ArithmeticError) as error:
        raise InputError(
            f"{path} cannot be used: {error}. It is damaged, or needs a part of brushwork that is not installed here"
        ) from None
    if (fitted.n_classes, fitted.n_maps) != (model.n_classes, n_maps):
        raise InputError(f"{path} is a damaged model file: its estimator and its features do not fit; train it again")
    return model


def _check_facts(model: Classifier, n_further: int) -> None:
    """Raise ValueError, or what comes of odd types, where a model file says what no model does."""
    told, n_channels = model.provenance, len(model.channel_names) + n_further
    texts = (*model.classes, *model.colors, *model.channel_names, model.axes, *told.get("images", ()))
    if not all(isinstance(text, str) for text in texts) or model.ndim not in (2, 3):
        raise ValueError(f"it names {texts[:20]} and images in {model.ndim}D")
    if not all(size > 0 for size in model.pixel_size or ()):
        raise ValueError(f"its pixels are {model.pixel_size} um")
    if not all(isinstance(c, int) and 0 <= c < n_channels for f in model.features.features for c in f.channels or ()):
        raise ValueError(f"its features ask for channels that are not among its {n_channels}")
    for key in ("pixels", "strokes", "shares around the strokes"):
        if key in told and not all(told[key][name] >= 0 for name in model.classes):
            raise ValueError(f"its {key} are {told[key]}")


def _checked_weights(weights: Sequence[float], n_classes: int) -> tuple[float, ...]:
    if len(weights) not in (0, n_classes) or not all(0 < w <= 1 for w in weights):
        raise ValueError(f"class weights {weights} for {n_classes} classes")
    return tuple(weights)


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
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{path} is a damaged model file ({error}); train it again") from None
    if not isinstance(header, dict) or not isinstance(header.get("version", 0), int):
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
