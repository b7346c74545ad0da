"""A project: the saved document of someone who paints. Open it to see how changes are made, saved and taken back.

Every change becomes a record in the project's journal and is on disk within 50 ms; the document is the fold of all records. What
is in the folder is said in project_folder.py, what a document is in document.py.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from brushwork import accuracy as acc
from brushwork import project_folder as files
from brushwork.answers import renumbered
from brushwork.changes import applied
from brushwork.classifier import Classifier
from brushwork.composition import Compositions
from brushwork.document import (
    Document,
    ImageEntry,
    ModelEntry,
    PaintClass,
    Task,
    class_to_json,
    document_to_json,
    image_to_json,
    stroke_to_json,
)
from brushwork.errors import InputError, unknown
from brushwork.estimators import estimator as estimator_named
from brushwork.features import FeatureSet
from brushwork.image import ArrayImage, Image
from brushwork.io.aside import make_folder
from brushwork.labels import Labels
from brushwork.ledger import Failed, Ledger
from brushwork.packing import crops_of, whole_copies, zipped
from brushwork.priors import check as check_priors
from brushwork.project_folder import Point
from brushwork.project_images import UNSEEN, ImageMissing, ImageReplaced, Shelf, mask_id
from brushwork.project_suffix import SUFFIX
from brushwork.strokes import ORIGINS, Stroke, checked_coords
from brushwork.training import COLORS, Prepared, checked_color, fit, prepare

__all__ = [
    "Document", "ImageEntry", "ImageMissing", "ImageReplaced", "ModelEntry", "PaintClass", "Point", "Project", "Stroke", "Task",
    "Trained", "applied",
]  # fmt: skip

IMPORTED = "imported from"  # what the provenance of models of other programs names

log = logging.getLogger("brushwork")
Examples = list[tuple[Image, Labels]]


@dataclass(frozen=True, eq=False)
class Trained:
    """A model before its accuracy is measured. task : as it was learnt from.

    prepared : what the model was fitted to; None where another program did that, and the model is kept already.
    """

    task: Task
    prepared: Prepared | None = field(repr=False)
    model: Classifier

    def is_of(self, task: Task) -> bool:
        """Whether a task still has the strokes, classes and settings that were learnt from."""
        return replace(task, models=self.task.models, next_model=self.task.next_model) == self.task


def _last_stroke(task: Task) -> int:
    return task.strokes[-1].id if task.strokes else 0


def _colored(paint_class: PaintClass, prediction_color: str | None) -> PaintClass:
    """With that colour of its predictions, None leaves it; one that is the colour of its strokes goes with them from now on."""
    if prediction_color is None:
        return paint_class
    is_same = checked_color(prediction_color).lower() == paint_class.color.lower()
    return replace(paint_class, prediction_color=None if is_same else prediction_color)


def _logged(error: Exception) -> None:
    log.error("%s", error)


class Project:
    """What someone paints in: a saved document and its open images. The only one who changes the document.

    Made by `create` and `open`; any thread may call any method. Every method that changes something raises InputError where the
    project is read-only, and where what it is given does not fit.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._images = Shelf(ledger.folder)
        self._compositions = Compositions()

    # ---------------------------------------------------------------- open and close

    @staticmethod
    def create(folder: str | Path, *, failed: Failed = _logged) -> "Project":
        """A new, empty project in a folder NAME.brushwork that does not exist or is empty.

        failed : is told, from another thread, when changes cannot be written; they stay in memory and are tried again.
        """
        folder = Path(folder).expanduser()
        if folder.suffix != SUFFIX:
            raise InputError(f"a project is a folder whose name ends with {SUFFIX}; {folder} was given")
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"{folder} exists already; open it, or choose another name")
        make_folder(folder)
        project = Project(Ledger.open(folder, failed))
        if project.read_only:
            raise InputError(project.why_read_only)
        return project

    @staticmethod
    def open(folder: str | Path, *, failed: Failed = _logged) -> "Project":
        """The project in a folder; read-only where another process has it, or the folder cannot be written.

        Raises InputError where there is no project, or one of a newer version.
        """
        folder = Path(folder).expanduser()
        if not folder.is_dir():
            hint = "; unpack the zip first" if folder.suffix == ".zip" else ""
            raise InputError(f"{folder} is not a project: a project is a folder NAME{SUFFIX}{hint}")
        return Project(Ledger.open(folder, failed))

    @property
    def folder(self) -> Path:
        return self._ledger.folder

    @property
    def name(self) -> str:
        return self.folder.resolve().name.removesuffix(SUFFIX)

    @property
    def document(self) -> Document:
        """The present state, a value."""
        return self._ledger.document

    @property
    def read_only(self) -> bool:
        return bool(self.why_read_only)

    @property
    def why_read_only(self) -> str:
        """Who has the project, or why its folder cannot be written, in words; "" where changes are possible."""
        return self._ledger.why_read_only

    @property
    def notes(self) -> tuple[str, ...]:
        """What was found damaged or unfinished on opening, and what was done about it, in words."""
        return self._ledger.notes

    @property
    def unsaved(self) -> int:
        """Changes that are not on disk yet."""
        return self._ledger.unsaved

    def flush(self) -> None:
        """Wait until every change is on disk. Raises RunError where that fails; changes stay in memory then."""
        self._ledger.flush()

    def close(self) -> None:
        """Save and let go of the folder. Raises RunError, and stays open, where changes cannot be written."""
        self._ledger.close()

    def __enter__(self) -> "Project":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---------------------------------------------------------------- images

    def add_image(
        self,
        uri: str | Path,
        *,
        axes: str | None = None,
        level: int | str | None = None,
        pixel_size: Sequence[float] | None = None,
        copy: bool = False,
        absolute: bool = False,
    ) -> ImageEntry:
        """Add an image, or find it where it is in the project already.

        axes, level, pixel_size : as for open_image. copy : copy the file into the project. absolute : note its full path.
        Raises InputError where its channels, axes or pixel size do not go with those of the images there are.
        """
        self._ledger.check_writable()
        sizes = [float(size) for size in pixel_size] if pixel_size is not None else None
        options = {"axes": axes, "level": level, "pixel_size": sizes}
        entry, is_known = self._images.entry_for(self.document, str(uri), options, copy=copy, absolute=absolute)
        if not is_known:
            self._ledger.change("image", {"image": image_to_json(entry)})
        elif self.document.image(entry.id).path != entry.path:
            self._ledger.change("image-moved", {"image": entry.id, "path": entry.path})
        return self.document.image(entry.id)

    def expect_image(self, entry: ImageEntry) -> ImageEntry:
        """Add an image that is not at hand: it can be painted on, and opened once it is found (relink) in the size noted here."""
        return self._ledger.change(
            "image", {"image": image_to_json(replace(entry, id=f"{UNSEEN}-{1 + len(self.document.images)}"))}
        ).images[-1]

    def name_image(self, entry_id: str, nickname: str) -> ImageEntry:
        """Call an image something; "" is the name of its file."""
        return self._ledger.change("image-named", {"image": entry_id, "nickname": nickname}).image(entry_id)

    def mask_image(
        self, entry_id: str, uri: str | Path, *, axes: str | None = None, level: int | str | None = None
    ) -> None:
        """Where a mask is 0 in all its channels, nothing of the image is predicted; it takes the place of an earlier one.

        axes, level : as for open_image. Raises InputError where it is of another size than the image.
        """
        entry = self.document.image(entry_id)
        self.expect_mask(entry_id, self._images.mask_for(entry, str(uri), {"axes": axes, "level": level}))

    def expect_mask(self, entry_id: str, mask: ImageEntry | None) -> None:
        """Give an image a mask that need not be at hand; None takes it away."""
        said = None if mask is None else image_to_json(replace(mask, id=mask_id(self.document.image(entry_id))))
        self._ledger.change("image-mask", {"image": entry_id, "mask": said})

    def image(self, entry_id: str) -> ArrayImage:
        """An image or a mask, opened when it is first asked for.

        Raises ImageMissing where it is not in its place, ImageReplaced where another image is there.
        """
        return self._images.image(self.document.image(entry_id))

    def place(self, entry_id: str) -> str:
        """Where an image or a mask is looked for: a full path, or an address."""
        return self._images.place(self.document.image(entry_id))

    def relink(self, entry_id: str, path: str | Path) -> list[str]:
        """Point an image or a mask to its new place. Others that are missing are looked for beside it, as they lay there before.

        Returns the ids of all that were found. Raises ImageReplaced where `path` holds another image.
        """
        self._ledger.check_writable()
        found = self._images.relinked(self.document, self.document.image(entry_id), str(path))
        for moved in found:
            self._ledger.change("image-moved", {"image": moved.id, "path": moved.path})
        return [moved.id for moved in found]

    # ---------------------------------------------------------------- tasks and classes

    def add_task(self, name: str) -> Task:
        """A further task, without classes; several tasks share the images."""
        return self._ledger.change("task", {"task": name}).task(name)

    def change_task(
        self,
        task: str,
        *,
        features: str | None = None,
        channels: Sequence[str] | str | None = None,
        estimator: str | None = None,
        priors: str | None = None,
        seed: int | None = None,
    ) -> Task:
        """Change settings of a task; those that are not given stay. channels : names, or "all"."""
        given = {
            "features": features,
            "channels": channels,
            "estimator": estimator,
            "priors": priors,
            "seed": None if seed is None else int(seed),
        }
        settings: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
        if features is not None:
            FeatureSet.parse(features)
        if estimator is not None:
            estimator_named(estimator)
        if priors is not None:
            check_priors(priors)
        if channels is not None:
            settings["channels"] = None if channels == "all" else self._known_channels(channels)
        name = self.document.task(task).name
        return self._ledger.change("settings", {"task": name, "settings": settings}).task(name)

    def _known_channels(self, channels: Sequence[str]) -> list[str]:
        known = self.document.images[0].channel_names if self.document.images else None
        for channel in channels:
            if known is not None and channel not in known:
                raise unknown("channel", channel, known)
        return list(channels)

    def add_class(
        self, task: str, name: str, color: str | None = None, *, prediction_color: str | None = None
    ) -> PaintClass:
        """A further class. color : "#rrggbb"; without it, the first of a palette that is not taken.

        prediction_color : where it is not that of the strokes.
        """
        with self._ledger.changing:
            there = self.document.task(task)
            taken = {c.color.upper() for c in there.classes}
            free = [c for c in COLORS if c.upper() not in taken] or [COLORS[len(there.classes) % len(COLORS)]]
            new = _colored(PaintClass(there.next_class, name, checked_color(color or free[0])), prediction_color)
            self._ledger.change("class", {"task": there.name, "class": class_to_json(new)})
            return new

    def change_class(
        self,
        task: str,
        class_id: int,
        *,
        name: str | None = None,
        color: str | None = None,
        prediction_color: str | None = None,
        visible: bool | None = None,
    ) -> PaintClass:
        """Rename, recolour, show or hide a class; what is not given stays."""
        with self._ledger.changing:
            there = self.document.task(task)
            given = {"name": name, "color": checked_color(color) if color is not None else None, "visible": visible}
            known = asdict(there.paint_class(class_id))
            changed = PaintClass(**known | {key: value for key, value in given.items() if value is not None})
            changed = _colored(changed, prediction_color)
            self._ledger.change("class", {"task": there.name, "class": class_to_json(changed)})
            return changed

    def reorder_classes(self, task: str, order: Sequence[int]) -> None:
        """Put classes into another display order. order : every id once."""
        self._ledger.change("class-order", {"task": self.document.task(task).name, "order": [int(i) for i in order]})

    def merge_classes(self, task: str, from_id: int, into_id: int) -> None:
        """Make the strokes of one class those of another; the first class is gone then."""
        self._ledger.change(
            "classes-merged", {"task": self.document.task(task).name, "from": int(from_id), "into": int(into_id)}
        )

    def delete_class(self, task: str, class_id: int) -> None:
        """Remove a class; where its strokes lie on top, nothing is painted. They stay in the document and in its history."""
        self._ledger.change("class-deleted", {"task": self.document.task(task).name, "class": int(class_id)})

    # ---------------------------------------------------------------- strokes

    def paint(
        self, task: str, image: str, class_id: int, coords: ArrayLike, *, origin: str = "brush", check: bool = False
    ) -> Stroke:
        """Add a stroke. class_id : 0 erases. coords : (n, ndim), or (n, 1 + ndim) with the frame first; inside the image.

        check : the pixels are kept for checking only and never trained on.
        """
        if origin not in ORIGINS:
            raise unknown("origin of a stroke", origin, ORIGINS)
        extent = self.document.image(image).extent
        at = checked_coords(coords, extent)
        with self._ledger.changing:
            name = self.document.task(task).name
            new = Stroke(self.document.next_stroke, image, int(class_id), at, bool(check), origin, time.time())
            facts, payload = stroke_to_json(new, extent)
            return self._ledger.change("stroke", {"task": name, "stroke": facts}, payload).task(name).strokes[-1]

    def paint_labels(self, task: str, image: str, labels: Labels, ids: Mapping[int, int] | None = None) -> int:
        """Paint labels of an image as strokes of origin "import", one for each of theirs; returns how many.

        ids : class of the labels -> class id; without it they are the same.
        """
        columns = len(self.document.image(image).extent)
        strokes = labels.by_stroke()
        for rows in strokes:
            class_id = int(labels.classes[rows[0]])
            at = labels.coords[rows, -columns:]
            self.paint(task, image, class_id if ids is None else ids[class_id], at, origin="import")
        return len(strokes)

    def undo(self, task: str, image: str) -> Stroke | None:
        """Take back the newest stroke of a task on an image; None where there is none."""
        return self._turned("undo", task, image)

    def redo(self, task: str, image: str) -> Stroke | None:
        """Bring back what was undone last, unless something was painted on the image since."""
        return self._turned("redo", task, image)

    def _turned(self, kind: str, task: str, image: str) -> Stroke | None:
        self._ledger.check_writable()
        with self._ledger.changing:
            there = self.document.task(task)
            self.document.image(image)
            stroke = there.last_painted(image) if kind == "undo" else there.last_undone(image)
            if stroke is None:
                return None
            return (
                self._ledger.change(kind, {"task": there.name, "stroke": stroke.id}).task(there.name).stroke(stroke.id)
            )

    def labels(self, task: str, image: str, *, check: bool = False) -> Labels:
        """What the strokes on an image add up to: later ones lie on top, erasing removes, each pixel has one stroke.

        The pixels for training or, with `check`, those for checking only. Classes are class ids, strokes are stroke ids; sorted in
        C order. Only strokes since the last call cost time.
        """
        document = self.document
        return self._compositions.labels(document, document.task(task), image, check=check)

    # ---------------------------------------------------------------- models

    def training(self, task: str = "") -> tuple[Examples, tuple[str, ...], tuple[str, ...]]:
        """(examples, names, colors), what training.train takes.

        Painted classes are numbered 1, 2, ... in display order; images without strokes and pixels for checking are left out.
        colors : of predictions.
        """
        document = self.document
        return self._training(document, document.task(task))

    def _training(self, document: Document, task: Task) -> tuple[Examples, tuple[str, ...], tuple[str, ...]]:
        painted = {s.image for s in task.strokes if not s.undone}
        found = [(e, self._compositions.labels(document, task, e.id)) for e in document.images if e.id in painted]
        found = [(e, labels) for e, labels in found if len(labels)]
        painted_on = [(self._images.image(e), labels) for e, labels in found]
        ids, names, examples = renumbered(painted_on, [(c.id, c.name) for c in task.classes])
        return examples, names, tuple(task.paint_class(i).map_color for i in ids)

    def fit(self, task: str = "", *, threads: int | None = None) -> Classifier:
        """A model of what is painted now; the project stays as it is. Raises InputError where there is nothing to learn."""
        return self.learn(task, threads=threads).model

    def train(self, task: str = "", *, threads: int | None = None) -> Classifier:
        """Train on a task's strokes, measure on strokes left out, and keep the model in models/.

        Raises InputError where there is nothing to learn; a training that fails leaves the models there are as they are.
        """
        self._ledger.check_writable()
        return self.keep(self.learn(task, threads=threads))

    def learn(self, task: str = "", *, threads: int | None = None) -> Trained:
        """Train on a task's strokes; the project stays as it is. Raises InputError where there is nothing to learn."""
        document = self.document
        there = document.task(task)
        examples, names, colors = self._training(document, there)
        if len(names) < 2:
            found = f"only {names[0]!r} is painted" if names else "nothing is painted"
            raise InputError(
                f"Training needs painted pixels of at least two classes; {found}. Paint some background too."
            )
        prepared = prepare(
            examples, there.features, classes=names, channels=there.channels, priors=there.priors, threads=threads
        )
        return Trained(there, prepared, fit(prepared, there.estimator, seed=there.seed, colors=colors))

    def keep(self, trained: Trained) -> Classifier:
        """Measure on strokes left out what was learnt from this project, and keep the model in models/."""
        if trained.prepared is None:
            return trained.model
        self._ledger.check_writable()
        there, model = trained.task, trained.model
        model.estimator.arrays()  # what cannot be saved says so now, not after the accuracy
        measured = acc.held_out(trained.prepared, there.estimator, seed=there.seed, class_weights=model.class_weights)
        last = there.strokes[-1].id
        model = acc.with_accuracy(model, measured).with_provenance(project=self.name, task=there.name, last_stroke=last)
        self._keep(there, model, last, measured.balanced)
        return model

    def model(self, task: str = "", *, threads: int | None = None) -> Classifier:
        """What `fit` gives; until something is painted or set, what another program learnt (`keep_imported`)."""
        known = self.imported(task)
        return known.model if known is not None else self.fit(task, threads=threads)

    def imported(self, task: str = "") -> Trained | None:
        """The newest kept model, if it came from another program and nothing was changed since."""
        there = self.document.task(task)
        newest = there.models[-1] if there.models else None
        if newest is None:
            return None
        # Asked at every stroke: what a stroke changes comes first, the disk last.
        learnt_from = newest.last_stroke, newest.features, newest.seed, Task.estimator, Task.channels
        now = _last_stroke(there), there.features, there.seed, there.estimator, there.channels
        if learnt_from != now or any(s.undone for s in there.strokes) or not (self.folder / newest.file).is_file():
            return None
        model = Classifier.load(self.folder / newest.file)
        priors = model.provenance.get("priors", Task.priors)
        is_of = IMPORTED in model.provenance and list(model.classes) == [c.name for c in there.classes]
        return Trained(there, None, model) if is_of and priors == there.priors else None

    def keep_imported(self, task: str, model: Classifier) -> None:
        """Keep in models/ what another program learnt from what is painted now; its provenance says IMPORTED.

        model : its classes are those of the task. Its accuracy is not known.
        """
        self._ledger.check_writable()
        there = self.document.task(task)
        last = _last_stroke(there)
        model = model.with_provenance(task=there.name, last_stroke=last, priors=there.priors)
        self._keep(there, model, last, float("nan"))

    def _keep(self, task: Task, model: Classifier, last_stroke: int, balanced: float) -> None:
        with self._ledger.changing:
            self._ledger.check_writable()
            number = self.document.task(task.name).next_model
            several = (
                ""
                if len(self.document.tasks) == 1
                else f"{self.document.tasks.index(self.document.task(task.name)) + 1}-"
            )
            file = f"{files.MODELS}/{several}{number:03d}.bwm"
            make_folder(self.folder / files.MODELS)
            model.save(self.folder / file)
            known = None if np.isnan(balanced) else round(balanced, 4)
            entry = ModelEntry(number, file, task.seed, time.time(), last_stroke, task.features, known)
            self._ledger.change("model", {"task": task.name, "model": asdict(entry)})

    # ---------------------------------------------------------------- history

    def snapshot(self) -> Point:
        """Keep the present state as one that can be restored, and begin a new journal behind it. The last ten are kept."""
        return self._ledger.snapshot()

    def history(self) -> list[Point]:
        """The states that can be restored, the newest first."""
        return files.points(self.folder)

    def restore(self, point: Point) -> None:
        """Go back to a point of the history. The present state becomes a point itself: nothing is deleted."""
        self._ledger.restore(point)

    # ---------------------------------------------------------------- pack

    def pack(self, out: str | Path, *, full: bool = False) -> Path:
        """Write a zip to pass on: the project with crops around its strokes, which suffice to train again.

        full : with whole copies of its images instead. Undone strokes and earlier states stay behind.
        """
        out = Path(out).expanduser()
        if out.suffix != ".zip":
            raise InputError(f"a packed project is a file that ends with .zip; {out} was given")
        document, several = self.document, whole_copies if full else crops_of

        def fill(folder: Path) -> None:
            with Project.create(folder, failed=_logged) as copy:
                facts, payload = document_to_json(several(document, self._images, self._compositions, folder))
                copy._ledger.change("restore", {"document": facts}, payload)
                copy.snapshot()

        return zipped(out, f"{self.name}{SUFFIX}", fill)
