"""What a project holds, as values, and those values as JSON and bytes. How they change is in changes.py.

Document
  +- images    ImageEntry     where an image is found, and by which content it is known
  +- tasks     Task           classes, settings, strokes and models; several tasks may share the images
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from brushwork.errors import InputError, unknown
from brushwork.strokes import Stroke, packed, unpacked

FORMAT, VERSION = "brushwork-project", 1


@dataclass(frozen=True)
class PaintClass:
    """id : 1 to 255, never used again within a task. color : "#rrggbb"."""

    id: int
    name: str
    color: str
    visible: bool = True


@dataclass(frozen=True)
class ImageEntry:
    """An image that a project knows.

    id : by its content (io.fingerprints). path : relative to the project's folder with "/", or absolute, or a URL.
    shape : along the spatial axes. axes : as stored. dtype : "" where nobody has opened it yet.
    options : what `open_image` is given besides: axes, level, pixel_size.
    part_of : of a crop in a packed project the image that it is from ("image", its id), its "offset" there and the "path".
    """

    id: str
    path: str
    shape: tuple[int, ...]
    axes: str
    dtype: str
    channel_names: tuple[str, ...]
    pixel_size: tuple[float, ...] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    n_frames: int = 1
    part_of: Mapping[str, Any] | None = None

    @property
    def extent(self) -> tuple[int, ...]:
        """What coordinates of strokes lie in: the shape, with the number of frames first where there are several."""
        return (self.n_frames, *self.shape) if self.n_frames > 1 else self.shape


@dataclass(frozen=True)
class ModelEntry:
    """file : relative to the project's folder. last_stroke : the newest one it was trained on. accuracy : balanced, if tested."""

    id: int
    file: str
    seed: int
    when: float
    last_stroke: int
    features: str
    accuracy: float | None


@dataclass(frozen=True)
class Task:
    """One question to the images: classes, strokes, settings and models.

    classes : in display order. deleted : classes that are gone; their ids stay taken, their strokes stay in `strokes`.
    channels : names, None for all. strokes : in the order of painting. undone : strokes that can be redone, the next one last.
    """

    name: str
    classes: tuple[PaintClass, ...] = ()
    deleted: tuple[PaintClass, ...] = ()
    features: str = "all"
    channels: tuple[str, ...] | None = None
    estimator: str = "symmetric-forest"
    priors: str = "image"
    seed: int = 0
    strokes: tuple[Stroke, ...] = field(default=(), repr=False)
    undone: tuple[int, ...] = ()
    models: tuple[ModelEntry, ...] = ()
    next_model: int = 1

    def paint_class(self, class_id: int) -> PaintClass:
        """The class of an id; raises InputError where there is none."""
        for paint_class in self.classes:
            if paint_class.id == class_id:
                return paint_class
        raise unknown(f"class of task {self.name!r}:", class_id, [f"{c.id} ({c.name})" for c in self.classes])

    @property
    def next_class(self) -> int:
        return 1 + max((c.id for c in self.classes + self.deleted), default=0)

    @property
    def deleted_ids(self) -> frozenset[int]:
        return frozenset(c.id for c in self.deleted)

    def stroke(self, stroke_id: int) -> Stroke:
        return self.strokes[self._index(stroke_id)]

    def _index(self, stroke_id: int) -> int:
        for i in range(len(self.strokes) - 1, -1, -1):  # what is looked for is mostly recent
            if self.strokes[i].id == stroke_id:
                return i
        raise InputError(f"task {self.name!r} has no stroke {stroke_id}")

    def with_stroke(self, stroke: Stroke) -> "Task":
        """The task with one of its strokes changed."""
        i = self._index(stroke.id)
        return replace(self, strokes=(*self.strokes[:i], stroke, *self.strokes[i + 1 :]))

    def last_painted(self, image: str) -> Stroke | None:
        """What `undo` takes back: the newest stroke on an image that is not undone and of a class that is still there."""
        gone = self.deleted_ids
        mine = (s for s in reversed(self.strokes) if s.image == image and not s.undone and s.class_id not in gone)
        return next(mine, None)

    def last_undone(self, image: str) -> Stroke | None:
        """What `redo` brings back."""
        mine = (self.stroke(i) for i in reversed(self.undone))
        return next((s for s in mine if s.image == image and s.class_id not in self.deleted_ids), None)


SETTINGS = ("features", "channels", "estimator", "priors", "seed")  # of a task


@dataclass(frozen=True)
class Document:
    """serial : of the record that was applied last. next_stroke : ids of strokes are not used again, whatever is restored."""

    images: tuple[ImageEntry, ...] = ()
    tasks: tuple[Task, ...] = ()
    version: int = VERSION
    serial: int = 0
    next_stroke: int = 1

    def image(self, image_id: str) -> ImageEntry:
        """The entry of an image; raises InputError where there is none."""
        for entry in self.images:
            if entry.id == image_id:
                return entry
        raise unknown("image", image_id, [f"{e.id} ({e.path})" for e in self.images])

    def task(self, name: str = "") -> Task:
        """A task by name, "" for the only one; raises InputError where there is none."""
        if not name and len(self.tasks) == 1:
            return self.tasks[0]
        for task in self.tasks:
            if task.name == name:
                return task
        if not name:
            names = ", ".join(repr(t.name) for t in self.tasks)
            raise InputError(
                f"the project has the tasks {names}; say which" if names else "the project has no task yet"
            )
        raise unknown("task", name, [t.name for t in self.tasks])

    def with_task(self, task: Task) -> "Document":
        """The document with the task of this name changed."""
        self.task(task.name)
        return replace(self, tasks=tuple(task if t.name == task.name else t for t in self.tasks))

    def with_image(self, entry: ImageEntry) -> "Document":
        """The document with the image of this id changed."""
        self.image(entry.id)
        return replace(self, images=tuple(entry if e.id == entry.id else e for e in self.images))


# ---------------------------------------------------------------- as JSON and bytes


def newer(version: object) -> InputError:
    """The error for a project of a version that is not known yet."""
    return InputError(f"the project has format {version}, this brushwork reads up to {VERSION}; update brushwork")


def image_from_json(data: Mapping[str, Any]) -> ImageEntry:
    known = {f.name: data[f.name] for f in fields(ImageEntry) if f.name in data}
    size = known.get("pixel_size")
    tuples = {"shape": tuple(known["shape"]), "channel_names": tuple(known["channel_names"])}
    return ImageEntry(**{**known, **tuples, "pixel_size": tuple(size) if size is not None else None})


def stroke_to_json(stroke: Stroke, extent: tuple[int, ...]) -> tuple[dict[str, Any], bytes]:
    """(facts, payload) of a stroke on an image of `extent`; for the payload see strokes.packed."""
    facts, payload = packed(stroke.coords, extent)
    said = {f.name: getattr(stroke, f.name) for f in fields(Stroke) if f.name != "coords"}
    return said | facts, payload


def stroke_from_json(facts: Mapping[str, Any], payload: bytes) -> Stroke:
    said = {f.name: facts[f.name] for f in fields(Stroke) if f.name != "coords"}
    return Stroke(coords=unpacked(facts, payload), **said)


def document_to_json(document: Document) -> tuple[dict[str, Any], bytes]:
    """(facts, payload) of a whole document: the payload is its strokes', one after the other, "bytes" of each."""
    payloads: list[bytes] = []
    tasks = []
    extents = {e.id: e.extent for e in document.images}
    for task in document.tasks:
        strokes = []
        for stroke in task.strokes:
            facts, payload = stroke_to_json(stroke, extents[stroke.image])
            strokes.append(facts | {"bytes": len(payload)})
            payloads.append(payload)
        tasks.append(asdict(replace(task, strokes=())) | {"strokes": strokes})
    facts = {
        "format": FORMAT,
        "version": VERSION,
        "serial": document.serial,
        "next_stroke": document.next_stroke,
        "images": [asdict(e) for e in document.images],
        "tasks": tasks,
    }
    return facts, b"".join(payloads)


def document_from_json(data: Mapping[str, Any], payload: bytes) -> Document:
    """The document of `document_to_json`."""
    if data["version"] > VERSION:
        raise newer(data["version"])
    at, tasks = 0, []
    for task in data["tasks"]:
        strokes = []
        for facts in task["strokes"]:
            strokes.append(stroke_from_json(facts, payload[at : at + facts["bytes"]]))
            at += facts["bytes"]
        tasks.append(_task_from_json(task, tuple(strokes)))
    images = tuple(image_from_json(e) for e in data["images"])
    return Document(images, tuple(tasks), VERSION, data["serial"], data["next_stroke"])


def settings_from_json(given: Mapping[str, Any]) -> dict[str, Any]:
    channels = given.get("channels")
    return {key: given[key] for key in SETTINGS if key in given} | (
        {"channels": tuple(channels) if channels is not None else None} if "channels" in given else {}
    )


def _task_from_json(data: Mapping[str, Any], strokes: tuple[Stroke, ...]) -> Task:
    return Task(
        name=data["name"],
        classes=tuple(PaintClass(**c) for c in data["classes"]),
        deleted=tuple(PaintClass(**c) for c in data["deleted"]),
        strokes=strokes,
        undone=tuple(data["undone"]),
        models=tuple(ModelEntry(**m) for m in data["models"]),
        next_model=data["next_model"],
        **settings_from_json(data),
    )
