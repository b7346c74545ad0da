"""What a project holds, as values, and those values as JSON and bytes. How they change is in changes.py.

Document
  +- images    ImageEntry     where an image is found, and by which content it is known
  +- tasks     Task           classes, settings, strokes and models; several tasks may share the images
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, TypeVar

from brushwork.errors import InputError, unknown
from brushwork.labels import MAX_CLASSES
from brushwork.strokes import Stroke, packed, unpacked

FORMAT = "brushwork-project"
VERSION = 2  # that is read; documents are written as the first one that holds all they say
SAYS_MORE = 2  # from here on: nicknames and masks of images, colours of predictions


@dataclass(frozen=True)
class PaintClass:
    """id : 1 to 255, never used again within a task. color : of strokes, "#rrggbb".

    prediction_color : None is that of the strokes.
    """

    id: int
    name: str
    color: str
    visible: bool = True
    prediction_color: str | None = None

    @property
    def map_color(self) -> str:
        """The colour that predictions are shown in."""
        return self.prediction_color or self.color


@dataclass(frozen=True)
class ImageEntry:
    """An image that a project knows.

    id : by its content (io.fingerprints). path : relative to the project's folder with "/", or absolute, or a URL.
    shape : along the spatial axes. axes : as stored. dtype : "" where nobody has opened it yet.
    options : what `open_image` is given besides: axes, level, pixel_size.
    part_of : of a crop in a packed project the image that it is from ("image", its id), its "offset" there and the "path".
    nickname : what people call it, "" for the name of its file. mask : an image of the same size; where it is 0 in all channels,
    nothing is predicted.
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
    nickname: str = ""
    mask: "ImageEntry | None" = None

    @property
    def title(self) -> str:
        return self.nickname or self.path.rpartition("/")[2]

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
    """version : of the format, the first one that holds what was ever said in it. serial : of the record that was applied last.

    next_stroke : ids of strokes are not used again, whatever is restored.
    """

    images: tuple[ImageEntry, ...] = ()
    tasks: tuple[Task, ...] = ()
    version: int = 1
    serial: int = 0
    next_stroke: int = 1

    @property
    def entries(self) -> tuple[ImageEntry, ...]:
        """The images, and behind them their masks."""
        return (*self.images, *(e.mask for e in self.images if e.mask is not None))

    def image(self, image_id: str) -> ImageEntry:
        """The entry of an image or a mask; raises InputError where there is none."""
        for entry in self.entries:
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
        """The document with the image or mask of this id changed."""
        self.image(entry.id)
        return replace(self, images=tuple(_changed(e, entry) for e in self.images))


def _changed(there: ImageEntry, entry: ImageEntry) -> ImageEntry:
    if there.mask is not None and there.mask.id == entry.id:
        return replace(there, mask=entry)
    return entry if there.id == entry.id else there


# ---------------------------------------------------------------- as JSON and bytes


def newer(version: object) -> InputError:
    """The error for a project of a version that is not known yet."""
    return InputError(f"the project has format {version}, this brushwork reads up to {VERSION}; update brushwork")


def image_from_json(data: Mapping[str, Any]) -> ImageEntry:
    known = {f.name: data[f.name] for f in fields(ImageEntry) if f.name in data}
    size = known.get("pixel_size")
    tuples = {"shape": tuple(known["shape"]), "channel_names": tuple(known["channel_names"])}
    mask = image_from_json({**known["mask"], "mask": None}) if known.get("mask") is not None else None
    entry = ImageEntry(**{**known, **tuples, "pixel_size": tuple(size) if size is not None else None, "mask": mask})
    lengths, names, sizes = entry.extent, entry.channel_names, entry.pixel_size or ()
    if not all(isinstance(n, int) and n > 0 for n in lengths) or not all(isinstance(s, int | float) for s in sizes):
        raise TypeError(f"an image of {lengths} pixels, each of {sizes}")
    if not all(isinstance(name, str) for name in names) or not isinstance(entry.options, Mapping):
        raise TypeError(f"channels {names} and options {entry.options}")
    return checked(entry)


PLAIN = (int, float, str, bool)
Value = TypeVar("Value")


def checked(value: Value) -> Value:
    """A dataclass whose plain fields are of the types that it says; raises TypeError for others."""
    for f in fields(value):  # type: ignore[arg-type]
        given = getattr(value, f.name)
        if f.type in PLAIN and not isinstance(given, (int, float) if f.type is float else f.type):
            raise TypeError(f"{f.name} is {given!r:.100}")
    return value


def image_to_json(entry: ImageEntry) -> dict[str, Any]:
    """What version 2 added is left out where it says nothing, here and in `class_to_json`."""
    facts = asdict(entry) | ({"mask": image_to_json(entry.mask)} if entry.mask is not None else {})
    return {key: value for key, value in facts.items() if value or key not in ("nickname", "mask")}


def class_from_json(data: Mapping[str, Any]) -> PaintClass:
    paint_class = checked(PaintClass(**data))
    if not isinstance(paint_class.prediction_color, str | None):
        raise TypeError(f"prediction_color is {paint_class.prediction_color!r:.100}")
    if not 1 <= paint_class.id <= MAX_CLASSES:
        raise InputError(f"a task has at most {MAX_CLASSES} classes, deleted ones included; add a task for more")
    return paint_class


def class_to_json(paint_class: PaintClass) -> dict[str, Any]:
    facts = asdict(paint_class)
    return {key: value for key, value in facts.items() if value is not None or key != "prediction_color"}


def stroke_to_json(stroke: Stroke, extent: tuple[int, ...]) -> tuple[dict[str, Any], bytes]:
    """(facts, payload) of a stroke on an image of `extent`; for the payload see strokes.packed."""
    facts, payload = packed(stroke.coords, extent)
    said = {f.name: getattr(stroke, f.name) for f in fields(Stroke) if f.name != "coords"}
    return said | facts, payload


def stroke_from_json(facts: Mapping[str, Any], payload: bytes) -> Stroke:
    said = {f.name: facts[f.name] for f in fields(Stroke) if f.name != "coords"}
    stroke = checked(Stroke(coords=unpacked(facts, payload), **said))
    if not 0 <= stroke.class_id <= MAX_CLASSES:
        raise TypeError(f"a stroke of class {stroke.class_id}")
    return stroke


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
        classes = {key: [class_to_json(c) for c in getattr(task, key)] for key in ("classes", "deleted")}
        tasks.append(asdict(replace(task, strokes=())) | classes | {"strokes": strokes})
    facts = {
        "format": FORMAT,
        "version": document.version,
        "serial": document.serial,
        "next_stroke": document.next_stroke,
        "images": [image_to_json(e) for e in document.images],
        "tasks": tasks,
    }
    return facts, b"".join(payloads)


def document_from_json(data: Mapping[str, Any], payload: bytes) -> Document:
    """The document of `document_to_json`."""
    if data["version"] > VERSION:
        raise newer(data["version"])
    images = tuple(image_from_json(e) for e in data["images"])
    extents = {e.id: list(e.extent) for e in images}
    at, tasks = 0, []
    for task in data["tasks"]:
        strokes = []
        for facts in task["strokes"]:
            if facts["extent"] != extents[facts["image"]]:
                raise TypeError(f"a stroke on an image of {facts['extent']}")
            strokes.append(stroke_from_json(facts, payload[at : at + facts["bytes"]]))
            at += facts["bytes"]
        tasks.append(_task_from_json(task, tuple(strokes)))
    return checked(Document(images, tuple(tasks), data["version"], data["serial"], data["next_stroke"]))


def settings_from_json(given: Mapping[str, Any]) -> dict[str, Any]:
    channels = given.get("channels")
    return {key: given[key] for key in SETTINGS if key in given} | (
        {"channels": tuple(channels) if channels is not None else None} if "channels" in given else {}
    )


def _task_from_json(data: Mapping[str, Any], strokes: tuple[Stroke, ...]) -> Task:
    task = Task(
        name=data["name"],
        classes=tuple(map(class_from_json, data["classes"])),
        deleted=tuple(map(class_from_json, data["deleted"])),
        strokes=strokes,
        undone=tuple(data["undone"]),
        models=tuple(checked(ModelEntry(**m)) for m in data["models"]),
        next_model=data["next_model"],
        **settings_from_json(data),
    )
    return checked(task)
