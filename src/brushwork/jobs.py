"""Predictions of stored images: planned, run block by block, resumed where they were interrupted.

Beside an output OUT that is not finished lies OUT.run/ with plan.json, one marker per finished task and the store that is being
filled. The last step renames (OME-Zarr) or exports (other formats) the store to OUT and removes OUT.run/; nothing that is called
OUT is ever incomplete.
"""

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import DTypeLike, NDArray

from brushwork._version import __version__
from brushwork.blocks import Region, grid, run_over, thread_count, whole
from brushwork.classifier import Classifier
from brushwork.errors import InputError, RunError, unknown
from brushwork.image import Image
from brushwork.io import WRITERS, Layout
from brushwork.io.aside import written_aside
from brushwork.io.fingerprints import fingerprint
from brushwork.io.locks import locked
from brushwork.io.run_folder import RunFolder
from brushwork.io.writers import files_of
from brushwork.resample import Resampled

OUTPUTS = ("probabilities", "segmentation", "uncertainty", "features")
DTYPES = ("uint8", "uint16", "float32")
EDGES = {2: (1024, 512, 256, 128), 3: (128, 96, 64, 48, 32)}  # pixels; the first that fits the memory
DEFAULT_MEMORY = 1 << 30  # bytes for all workers together
HASHED_BYTES = 256 << 20  # of a mask up to here every pixel counts

Progress = Callable[[str, int, int], None]  # what is done, pixels done, pixels in all


@dataclass(frozen=True)
class Settings:
    """How to predict, apart from model, image and place.

    output : one of OUTPUTS. dtype : one of DTYPES; 1.0 becomes the type's maximum (a segmentation is always uint8, features
    float32). block : edge of a block in pixels, None to choose. threads : None for all processors. memory : bytes, about,
    for all threads together. resample : interpolate to the model's pixel size and back where the image has another.
    """

    output: str = "probabilities"
    dtype: str = "uint8"
    block: int | None = None
    threads: int | None = None
    memory: int | None = None
    resample: bool = False

    def __post_init__(self) -> None:
        if self.output not in OUTPUTS:
            raise unknown("output", self.output, OUTPUTS)
        if self.dtype not in DTYPES:
            raise unknown("dtype", self.dtype, DTYPES)
        if self.block is not None and self.block < 8:
            raise InputError(f"a block's edge of {self.block} pixels was given; the smallest is 8")

    @property
    def stored_dtype(self) -> np.dtype:
        return np.dtype({"segmentation": "uint8", "features": "float32"}.get(self.output, self.dtype))


def predict(
    classifier: Classifier,
    image: Image,
    out: str | Path,
    *,
    output: str = "probabilities",
    dtype: str = "uint8",
    block: int | None = None,
    threads: int | None = None,
    memory: int | None = None,
    resample: bool = False,
    ignore: Image | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Classify every pixel of an image and write the result.

    out : its suffix says the format: .ome.zarr, .tif, .h5, .npy or .png. An interrupted call is continued by the same call.
    ignore : pixels where this image is not 0 are left out: 0 in every channel of the output.
    progress : called as progress(stage, pixels done, pixels in all).
    Other arguments: see Settings. Returns the path written.
    Raises InputError where the image does not suit the model or the output exists; RunError where writing failed.
    """
    settings = Settings(output, dtype, block, threads, memory, resample)
    out = Path(out)
    if out.suffix.lower() not in WRITERS:
        raise unknown("format of an output", out.name, WRITERS)
    seen = _at_pixel_size_of(classifier, image) if resample else image
    classifier.check_image(seen)
    if ignore is not None and (ignore.shape, ignore.n_frames) != (image.shape, image.n_frames):
        raise InputError(f"the mask to ignore is {ignore.shape}, the image {image.shape}; they have to be of one size")
    layout = output_layout(classifier, image, settings)
    with RunFolder.held(out, layout, plan_of(classifier, image, settings, ignore), overwrite) as run:
        try:
            _fill(run, _Task(classifier, seen, ignore, settings), progress)
            return run.finish((lambda done, total: progress("writing", done, total)) if progress else None)
        except OSError as error:
            reason = f"{error.strerror or error}; what is done is kept in {run.folder}"
            raise RunError(f"{out} could not be written: {reason}") from error


def _at_pixel_size_of(classifier: Classifier, image: Image) -> Image:
    """The image resampled to the pixel size of the model."""
    if len(image.shape) != classifier.ndim:
        classifier.check_image(image)
    if classifier.pixel_size is None:
        raise InputError(
            "the model was trained on images of unknown pixel size, so nothing can be resampled to it; "
            "leave --resample out, or train again with --pixel-size"
        )
    return Resampled.to(image, classifier.pixel_size)


def pixel_size_note(classifier: Classifier, image: Image, *, resample: bool) -> str:
    """What is assumed of the pixel size of an image that suits the model, or "" where nothing is.

    Raises InputError where it cannot be resampled.
    """
    if resample:
        same = _at_pixel_size_of(classifier, image) is image
        return f"{image.uri} has the model's pixel size already, so --resample changes nothing" if same else ""
    in_pixels = all(f.unit == "px" for f in classifier.features.features)
    if image.pixel_size is not None or classifier.pixel_size is None or not in_pixels:
        return ""
    size = " x ".join(f"{s:g}" for s in classifier.pixel_size)
    return f"the pixel size of {image.uri} is unknown; taken as the model's, {size} um (--pixel-size to say it)"


def plan_of(classifier: Classifier, image: Image, settings: Settings, ignore: Image | None) -> dict[str, Any]:
    """All that settles the pixels and the description of an output: what an interrupted run is compared with."""
    return {
        "model": model_hash(classifier),
        "classes": classifier.classes,
        "colors": classifier.colors,
        "model pixel size": classifier.pixel_size,
        "image": fingerprint(image),
        "pixel size": image.pixel_size,
        "frame axis": "t" in image.axes,
        "ignore": mask_fingerprint(ignore) if ignore is not None else None,
        "output": settings.output,
        "dtype": settings.stored_dtype.name,
        "resample": settings.resample,
    }


@dataclass(frozen=True, eq=False)
class _Task:
    """What a worker needs for any block."""

    classifier: Classifier
    image: Image  # at the model's pixel size
    ignore: Image | None
    settings: Settings

    def values(self, region: Region) -> NDArray[Any]:
        """What is stored for a region, (channels, *spatial) of the stored dtype."""
        s = self.settings
        if isinstance(self.image, Resampled):
            made = self.image.back(region, self._computed)
        else:
            made = self._computed(region)
        stored = stored_values(made, s.output, s.stored_dtype)
        if self.ignore is not None:
            stored[:, (self.ignore.read(region) != 0).any(0)] = 0
        return stored

    def _computed(self, region: Region) -> NDArray[np.float32]:
        block = self.classifier.block(self.image, region)
        if self.settings.output == "features":
            return self.classifier.features.at(self.classifier.seen(self.image), block)
        return self.classifier.predict_block(self.image, block)


def stored_values(probabilities: NDArray[np.float32], output: str, dtype: np.dtype) -> NDArray[Any]:
    """What an output stores for probabilities (n_classes, *spatial): (channels, *spatial) of `dtype`.

    A segmentation is 1 .. n_classes, ties go to the lower class; uncertainty is 1 - (largest - second largest).
    """
    if output == "features":
        return probabilities
    if output == "segmentation":
        return (probabilities.argmax(0) + 1)[np.newaxis].astype(dtype)
    if output == "uncertainty":
        top = np.partition(probabilities, -2, axis=0)[-2:]
        probabilities = 1 - (top[1] - top[0])[np.newaxis]
    return quantised(probabilities, dtype)


def quantised(values: NDArray[np.float32], dtype: DTypeLike) -> NDArray[Any]:
    """0 .. 1 as `dtype`: integers up to the type's maximum, rounded to nearest; floats as they are."""
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return values.astype(dtype, copy=False)
    return np.rint(values * np.float32(np.iinfo(dtype).max)).astype(dtype)


def _fill(run: RunFolder, task: _Task, progress: Progress | None) -> None:
    """Compute the tasks that are missing. Blocks of a task run in threads; a finished task is stored while the next is made."""
    settings, layout = task.settings, run.layout
    shard_bytes = int(np.prod(layout.shard)) * layout.n_channels * settings.stored_dtype.itemsize
    edge = block_edge(task.classifier, task.image, settings, held=2 * shard_bytes)
    todo = [(i, region) for i, region in enumerate(run.store.task_regions()) if not run.is_done(i)]
    total = layout.n_frames * int(np.prod(layout.shape))
    done = total - sum(region.size for _, region in todo)
    with ThreadPoolExecutor(1, thread_name_prefix="brushwork-store") as storing:
        earlier: Future[None] | None = None
        for i, region in todo:
            pixels = np.empty((layout.n_channels, *region.shape), settings.stored_dtype)
            for part, values in run_over(
                task.values, grid(region, (edge,) * len(layout.shape)), threads=settings.threads
            ):
                pixels[(slice(None), *part.slices_in(region))] = values
                done += part.size
                if progress:
                    progress("predicting", done, total)
            if earlier is not None:
                earlier.result()
            earlier = storing.submit(run.keep, i, region, pixels)
        if earlier is not None:
            earlier.result()


def block_edge(classifier: Classifier, image: Image, settings: Settings, *, held: int = 0) -> int:
    """The edge of blocks: as asked, or the largest usual one with which all threads fit in the memory.

    held : bytes of the memory that are taken already.
    """
    if settings.block is not None:
        return settings.block
    edges = EDGES[len(image.shape)]
    budget = (settings.memory or DEFAULT_MEMORY) - held
    workers = thread_count(settings.threads)
    return next((e for e in edges if workers * block_bytes(classifier, image, e, settings) <= budget), edges[-1])


def block_bytes(classifier: Classifier, image: Image, edge: int, settings: Settings) -> int:
    """About what one worker holds for a block: pixels read (as stored, float32, mirrored) and what it answers.

    image : at the model's pixel size; edge : in pixels of the original, of which Resampled makes 1 / ratio as many.
    """
    n_channels, halo = len(image.channel_names), classifier.features.halo(image)
    ratio = image.ratio if isinstance(image, Resampled) else (1.0,) * len(image.shape)
    made = [min(math.ceil(edge / r), n) for n, r in zip(image.shape, ratio)]
    read = math.prod(m + 2 * h for m, h in zip(made, halo))
    maps = classifier.features.n_maps if settings.output == "features" else classifier.n_classes
    held = read * n_channels * 12 + math.prod(made) * maps * (4 if settings.output == "features" else 8) + (8 << 20)
    if not isinstance(image, Resampled):
        return held
    back = math.prod(min(edge, n) for n in image.image.shape)
    return held + image.bytes_to_read(made, halo) + back * (4 * maps + 16 * len(ratio))


def mask_fingerprint(mask: Image) -> str:
    """A short name for a mask's content: all of it up to HASHED_BYTES, else where it lies, its files' size and time, and boxes."""
    n_channels = len(mask.channel_names)
    if math.prod(mask.shape) * mask.n_frames * n_channels * mask.dtype.itemsize > HASHED_BYTES:
        return hashlib.sha256(repr((fingerprint(mask), mask.uri, files_state(mask.uri))).encode()).hexdigest()[:32]
    digest = hashlib.sha256(fingerprint(mask).encode())
    for t in range(mask.n_frames):
        for region in grid(whole(mask.shape, t), [EDGES[len(mask.shape)][0]] * len(mask.shape)):
            digest.update((mask.read(region) != 0).tobytes())
    return digest.hexdigest()[:32]


def files_state(uri: str) -> tuple[int, int] | None:
    """Bytes and newest time of the file that a path leads to or into, or of the files of a folder; None of anything else."""
    inside = Path(uri)
    if inside.is_dir():
        stats = [file.stat() for file in inside.rglob("*")]
        return sum(s.st_size for s in stats), max((s.st_mtime_ns for s in stats), default=0)
    for path in (inside, *inside.parents):
        if path.is_file():
            return path.stat().st_size, path.stat().st_mtime_ns
    return None


def model_hash(classifier: Classifier) -> str:
    """A short name for what a classifier computes; of one that cannot be saved, a name that only holds in this process."""
    digest = hashlib.sha256(json.dumps(classifier.features.to_json(), sort_keys=True).encode())
    facts = [classifier.estimator.kind, classifier.estimator.settings(), classifier.class_weights]
    digest.update(json.dumps(facts, sort_keys=True).encode())
    if classifier.earlier is not None:
        digest.update(model_hash(classifier.earlier).encode())
    try:
        arrays = classifier.estimator.arrays()
    except InputError:
        digest.update(_tokens.setdefault(classifier, os.urandom(16)))
        return digest.hexdigest()[:32]
    for name, array in sorted(arrays.items()):
        digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:32]


_tokens: WeakKeyDictionary[Classifier, bytes] = WeakKeyDictionary()


def output_layout(classifier: Classifier, image: Image, settings: Settings) -> Layout:
    """Shape, channels and colours of what will be written."""
    return replace(
        _bare_layout(classifier, settings),
        shape=tuple(image.shape),
        n_frames=image.n_frames,
        has_time="t" in image.axes,
        pixel_size=image.pixel_size,
    )


def output_files(classifier: Classifier, out: Path, settings: Settings) -> tuple[Path, ...]:
    """The files that a prediction to `out` writes: `out`, or as PNG one per channel."""
    return files_of(out, _bare_layout(classifier, settings))


def _bare_layout(classifier: Classifier, settings: Settings) -> Layout:
    """What an output holds of any image: of shape (1, ...)."""
    names, colors = {
        "probabilities": (classifier.classes, classifier.colors),
        "features": (classifier.map_names, ()),
        "segmentation": (classifier.classes, classifier.colors),
        "uncertainty": (("uncertainty",), ()),
    }[settings.output]
    return Layout(
        shape=(1,) * classifier.ndim,
        n_channels=1 if settings.output == "segmentation" else len(names),
        dtype=settings.stored_dtype,
        channel_names=tuple(names),
        colors=tuple(colors),
        kind=settings.output,
    )


RECORD = "brushwork-run.json"


def record(folder: Path, model: Path, settings: Settings, entry: dict[str, Any]) -> Path:
    """Note in `folder` that an image was predicted: what the report reads, and how a repeated command knows what is done.

    entry : "image" (uri), "stamp" (see `stamp`), "output" (file name in the folder), "kind", "model_hash", "axes", "level",
    "pixel_size", "seconds", "asked" (see `asked`); model and settings are added. An entry of the same output is replaced.
    Raises InputError or RunError where it cannot be written. Several processes may write to one folder.
    """
    file = folder / RECORD
    latest = {"software": f"brushwork {__version__}", "model": str(model.resolve()), "settings": asdict(settings)}
    with locked(file.with_suffix(".lock"), str(file), wait=40, stale=30):
        data = read_record(folder) if file.exists() else {"images": []}
        others = [e for e in data["images"] if e["output"] != entry["output"]]
        data |= latest | {"images": [*others, entry | latest]}
        with written_aside(file, overwrite=True) as aside:
            aside.write_text(json.dumps(data, indent=1))
    return file


def asked(classifier: Classifier, settings: Settings, **opened: str | None) -> dict[str, Any]:
    """What of a command settles its results, apart from the image: to be compared when it is repeated."""
    dtype = settings.stored_dtype.name
    return {"model_hash": model_hash(classifier), "output": settings.output, "dtype": dtype} | {
        "resample": settings.resample,
        **opened,
    }


def stamp(uri: str) -> list[int] | None:
    """`files_state` of an image in one file, as JSON has it; None of a folder, which may hold millions of files."""
    state = None if Path(uri).is_dir() else files_state(uri)
    return list(state) if state else None


def is_recorded(target: Path, files: Iterable[Path], uri: str, wanted: dict[str, Any]) -> bool:
    """Whether `files`, of the output `target`, are the finished result of the same command on this image.

    wanted : what `asked` gives.
    """
    if not all(file.exists() for file in files) or not (target.parent / RECORD).exists():
        return False
    mine = {"output": target.name, "image": uri, "stamp": stamp(uri), "asked": wanted}
    return any(all(entry.get(key) == mine[key] for key in mine) for entry in read_record(target.parent)["images"])


def read_record(folder: Path) -> dict[str, Any]:
    """What `record` wrote; raises InputError where there is none."""
    file = folder / RECORD
    try:
        data = json.loads(file.read_text())
    except FileNotFoundError:
        raise InputError(f"{folder} holds no {RECORD}; give a folder that brushwork predict has written") from None
    except ValueError as error:
        raise InputError(f"{file} is damaged ({error}); predict again") from None
    if not isinstance(data, dict) or not isinstance(data.get("images"), list):
        raise InputError(f"{file} is not the record of a run; predict again")
    return data
