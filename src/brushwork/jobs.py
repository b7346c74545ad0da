"""Predictions of stored images: planned, run block by block, resumed where they were interrupted.

Beside an output OUT that is not finished lies OUT.run/ with plan.json, one marker per finished task and the store that is being
filled. The last step renames (OME-Zarr) or exports (other formats) the store to OUT and removes OUT.run/; nothing that is called
OUT is ever incomplete.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from brushwork._version import __version__
from brushwork.blocks import Region, grid, run_over, thread_count
from brushwork.classifier import Classifier
from brushwork.errors import InputError, RunError, unknown
from brushwork.image import Image
from brushwork.io import WRITERS, Layout, export
from brushwork.resample import Resampled

OUTPUTS = ("probabilities", "segmentation", "uncertainty", "features")
DTYPES = ("uint8", "uint16", "float32")
EDGES = {2: (1024, 512, 256, 128), 3: (128, 96, 64, 48, 32)}  # pixels; the first that fits the memory
DEFAULT_MEMORY = 1 << 30  # bytes for all workers together
SAMPLE_EDGE = 32  # pixels; boxes that a fingerprint reads

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
    seen = image
    if resample and classifier.pixel_size is not None:
        seen = Resampled.to(image, classifier.pixel_size)
    classifier.check_image(seen)
    if ignore is not None and (ignore.shape, ignore.n_frames) != (image.shape, image.n_frames):
        raise InputError(f"the mask to ignore is {ignore.shape}, the image {image.shape}; they have to be of one size")
    run = _Run.begin(classifier, image, Path(out), settings, ignore, overwrite)
    try:
        _fill(run, _Task(classifier, seen, ignore, settings), progress)
        return run.finish(progress)
    except OSError as error:
        reason = f"{error.strerror or error}; what is done is kept in {run.folder}"
        raise RunError(f"{out} could not be written: {reason}") from error


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
            return self.classifier.features.at(self.image, block)
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


def _fill(run: "_Run", task: _Task, progress: Progress | None) -> None:
    """Compute the tasks that are missing. Blocks of a task run in threads; one finished task is written while the next begins."""
    settings, image = task.settings, task.image
    edge = (block_edge(task.classifier, image, settings),) * len(run.layout.shape)
    todo = [(i, region) for i, region in enumerate(run.store.task_regions()) if not run.is_done(i)]
    total = run.layout.n_frames * int(np.prod(run.layout.shape))
    done = total - sum(region.size for _, region in todo)
    for i, region in todo:
        buffer = np.empty((run.layout.n_channels, *region.shape), settings.stored_dtype)
        for part, values in run_over(task.values, grid(region, edge), threads=settings.threads):
            buffer[(slice(None), *part.slices_in(region))] = values
            done += part.size
            if progress:
                progress("predicting", done, total)
        run.store.write(region, buffer)
        run.mark(i)


def block_edge(classifier: Classifier, image: Image, settings: Settings) -> int:
    """The edge of blocks: as asked, or the largest usual one with which all threads fit in the memory."""
    if settings.block is not None:
        return settings.block
    edges = EDGES[len(image.shape)]
    budget = settings.memory or DEFAULT_MEMORY
    workers = thread_count(settings.threads)
    return next((e for e in edges if workers * block_bytes(classifier, image, e, settings) <= budget), edges[-1])


def block_bytes(classifier: Classifier, image: Image, edge: int, settings: Settings) -> int:
    """About what one worker holds for a block: pixels read (as stored, float32, mirrored) and what it answers."""
    halo = classifier.features.halo(image)
    read = int(np.prod([min(edge, n) + 2 * h for n, h in zip(image.shape, halo)]))
    answer = classifier.features.n_maps if settings.output == "features" else 2 * classifier.n_classes
    return read * len(image.channel_names) * 12 + edge ** len(image.shape) * answer * 4 + (8 << 20)


def fingerprint(image: Image) -> str:
    """A short name for an image's content: shape, type and the pixels of a few small boxes."""
    digest = hashlib.sha256(repr((image.shape, image.n_frames, str(image.dtype), image.channel_names)).encode())
    for t in {0, image.n_frames - 1}:
        for part in (0.0, 0.5, 1.0):
            start = tuple(int(part * max(n - SAMPLE_EDGE, 0)) for n in image.shape)
            stop = tuple(min(s + SAMPLE_EDGE, n) for s, n in zip(start, image.shape))
            digest.update(image.read(Region(start, stop, t)).tobytes())
    return digest.hexdigest()[:32]


def model_hash(classifier: Classifier) -> str:
    """A short name for what a classifier computes."""
    digest = hashlib.sha256(json.dumps(classifier.features.to_json(), sort_keys=True).encode())
    digest.update(json.dumps([classifier.estimator.kind, classifier.estimator.settings()], sort_keys=True).encode())
    for name, array in sorted(classifier.estimator.arrays().items()):
        digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:32]


def output_layout(classifier: Classifier, image: Image, settings: Settings) -> Layout:
    """Shape, channels and colours of what will be written."""
    names, colors = {
        "probabilities": (classifier.classes, classifier.colors),
        "features": (classifier.features.names, ()),
        "segmentation": (classifier.classes, classifier.colors),
        "uncertainty": (("uncertainty",), ()),
    }[settings.output]
    return Layout(
        shape=tuple(image.shape),
        n_channels=1 if settings.output == "segmentation" else len(names),
        n_frames=image.n_frames,
        has_time="t" in image.axes,
        dtype=settings.stored_dtype,
        channel_names=tuple(names),
        colors=tuple(colors),
        pixel_size=image.pixel_size,
        kind=settings.output,
    )


@dataclass(frozen=True, eq=False)
class _Run:
    """The folder of an output that is not finished."""

    out: Path
    folder: Path
    layout: Layout
    store: Any

    @staticmethod
    def begin(
        classifier: Classifier, image: Image, out: Path, settings: Settings, ignore: Image | None, overwrite: bool
    ) -> "_Run":
        from brushwork.io.aside import refuse_existing
        from brushwork.io.ome_zarr import OmeZarrStore

        if out.suffix.lower() not in WRITERS:
            raise unknown("format of an output", out.name, WRITERS)
        refuse_existing(out, overwrite)
        folder = out.with_name(out.name + ".run")
        layout = output_layout(classifier, image, settings)
        plan = {
            "model": model_hash(classifier),
            "image": fingerprint(image),
            "ignore": fingerprint(ignore) if ignore is not None else None,
            "output": settings.output,
            "dtype": settings.stored_dtype.name,
            "resample": settings.resample,
        }
        if overwrite:
            shutil.rmtree(folder, ignore_errors=True)
        _write_plan(folder, plan)
        data = folder / "data.ome.zarr"
        store = (
            OmeZarrStore.open(data) if (data / "zarr.json").exists() else OmeZarrStore.create(data, layout, final=out)
        )
        return _Run(out, folder, layout, store)

    def is_done(self, task: int) -> bool:
        return (self.folder / "done" / str(task)).exists()

    def mark(self, task: int) -> None:
        (self.folder / "done" / str(task)).touch()

    def finish(self, progress: Progress | None) -> Path:
        """Make `out` of the store; returns what was written, of PNG the first file."""

        def show(done: int, total: int) -> None:
            if progress:
                progress("writing", done, total)

        if self.out.suffix.lower() == ".zarr":
            self.store.build_pyramid(show)
            if self.out.exists():
                shutil.rmtree(self.out)
            self.store.path.rename(self.out)
            first = self.out
        else:
            first = export(self.store.image(), self.out, self.layout, show, overwrite=True)[0]
        shutil.rmtree(self.folder)
        return first


def _write_plan(folder: Path, plan: dict[str, Any]) -> None:
    """Write the plan of a new run, or check that an interrupted one is the same."""
    file = folder / "plan.json"
    if file.exists():
        earlier = json.loads(file.read_text())
        changed = [key for key in plan if earlier.get(key) != plan[key]]
        if changed:
            raise InputError(
                f"{folder} holds an unfinished run with another {' and '.join(changed)}; "
                "finish that one, or start anew with --overwrite"
            )
        return
    try:
        (folder / "done").mkdir(parents=True, exist_ok=True)
        aside = file.with_suffix(".part")
        aside.write_text(json.dumps(plan, indent=1))
        aside.replace(file)
    except OSError as error:
        raise InputError(
            f"{folder} cannot be written: {error.strerror or error}; choose another output folder"
        ) from error


RECORD = "brushwork-run.json"


def record(folder: Path, model: Path, settings: Settings, entry: dict[str, Any]) -> Path:
    """Note in `folder` that an image was predicted: what the report reads, and how a repeated command knows what is done.

    entry : "image" (uri), "output" (file name in the folder), "kind", "model_hash", "axes", "level", "pixel_size", "seconds"; an
    entry of the same output is replaced.
    """
    file = folder / RECORD
    data = read_record(folder) if file.exists() else {"images": []}
    data |= {"software": f"brushwork {__version__}", "model": str(model.resolve()), "settings": asdict(settings)}
    data["images"] = [e for e in data["images"] if e["output"] != entry["output"]] + [entry]
    aside = file.with_suffix(".part")
    aside.write_text(json.dumps(data, indent=1))
    aside.replace(file)
    return file


def is_recorded(target: Path, hash_: str, uri: str) -> bool:
    """Whether `target` is the finished result of this model on this image."""
    if not target.exists() or not (target.parent / RECORD).exists():
        return False
    mine = {"output": target.name, "model_hash": hash_, "image": uri}
    return any(mine.items() <= entry.items() for entry in read_record(target.parent)["images"])


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
