"""How records change a document: every change is a record, a document is the fold of its records.

A record's header has "n" (its serial number), "kind" (one of CHANGES), "when" (seconds since 1970) and what the kind needs.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from brushwork.document import (
    SAYS_MORE,
    VERSION,
    Document,
    ImageEntry,
    ModelEntry,
    PaintClass,
    Task,
    checked,
    class_from_json,
    document_from_json,
    image_from_json,
    newer,
    settings_from_json,
    stroke_from_json,
)
from brushwork.errors import InputError
from brushwork.journal import Record

Change = Callable[[Document, dict[str, Any], bytes], Document]


def applied(document: Document, record: Record) -> Document:
    """The document after a record; a pure function.

    Raises InputError for a record of an unknown kind (a newer version's), or one that does not fit the document.
    """
    header = record.header
    kind = header.get("kind") if isinstance(header, dict) else None
    if not isinstance(kind, str) or kind not in CHANGES:
        raise InputError(
            f"the project holds a change of the unknown kind {kind!r}: a newer brushwork wrote it; update brushwork to open it"
        )
    try:
        changed = CHANGES[kind](document, header, record.payload)
    except InputError:
        raise
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        raise InputError(f"a change of kind {kind!r} cannot be understood ({type(error).__name__}: {error})") from error
    return replace(changed, serial=header.get("n", document.serial + 1))


def _begin(document: Document, header: dict[str, Any], _payload: bytes) -> Document:
    """What follows is said in a version of the format; those who do not know it read no further."""
    if header["version"] > VERSION:
        raise newer(header["version"])
    return _at_least(document, header["version"])


def _at_least(document: Document, version: int) -> Document:
    return replace(document, version=max(document.version, version))


def _add_image(document: Document, header: dict[str, Any], _payload: bytes) -> Document:
    entry = image_from_json(header["image"])
    if any(e.id == entry.id for e in document.images):
        raise InputError(f"the image {entry.path} is in the project already")
    return _described(replace(document, images=(*document.images, entry)), entry)


def _described(document: Document, entry: ImageEntry) -> Document:
    return _at_least(document, SAYS_MORE) if entry.nickname or entry.mask is not None else document


def _name_image(document: Document, header: dict[str, Any], _payload: bytes) -> Document:
    entry = checked(replace(document.image(header["image"]), nickname=header["nickname"]))
    return _described(document.with_image(entry), entry)


def _mask_image(document: Document, header: dict[str, Any], _payload: bytes) -> Document:
    if all(e.id != header["image"] for e in document.images):
        raise InputError(f"the project holds no image {header['image']!r} that could have a mask")
    mask = image_from_json(header["mask"]) if header["mask"] is not None else None
    entry = replace(document.image(header["image"]), mask=mask)
    return _described(document.with_image(entry), entry)


def _move_image(document: Document, header: dict[str, Any], _payload: bytes) -> Document:
    return document.with_image(checked(replace(document.image(header["image"]), path=header["path"])))


def _add_task(document: Document, header: dict[str, Any], _payload: bytes) -> Document:
    name = header["task"]
    if not name or any(t.name == name for t in document.tasks):
        raise InputError(f"a task's name must be new and not empty; {name!r} was given")
    return replace(document, tasks=(*document.tasks, checked(Task(name))))


def _change_task(document: Document, header: dict[str, Any], _payload: bytes) -> Document:
    changed = replace(document.task(header["task"]), **settings_from_json(header["settings"]))
    return document.with_task(checked(changed))


def _put_class(document: Document, header: dict[str, Any], _payload: bytes) -> Document:
    """A new class, or new facts about one."""
    task, new = document.task(header["task"]), class_from_json(header["class"])
    others = [c for c in task.classes if c.id != new.id]
    if not new.name or any(c.name == new.name for c in others):
        raise InputError(f"a class's name must be new and not empty; {new.name!r} was given")
    if new.id in task.deleted_ids:
        raise InputError(f"the class {new.id} of task {task.name!r} was deleted")
    known = len(others) < len(task.classes)
    classes = tuple(new if c.id == new.id else c for c in task.classes) if known else (*task.classes, new)
    changed = document.with_task(replace(task, classes=classes))
    return changed if new.prediction_color is None else _at_least(changed, SAYS_MORE)


def _order_classes(document: Document, header: dict[str, Any], _payload: bytes) -> Document:
    task = document.task(header["task"])
    if sorted(header["order"]) != sorted(c.id for c in task.classes):
        raise InputError(f"an order names each class once: {[c.id for c in task.classes]}, not {header['order']}")
    return document.with_task(replace(task, classes=tuple(task.paint_class(i) for i in header["order"])))


def _merge_classes(document: Document, header: dict[str, Any], _payload: bytes) -> Document:
    task = document.task(header["task"])
    gone, into = task.paint_class(header["from"]), task.paint_class(header["into"])
    if gone.id == into.id:
        raise InputError(f"the class {gone.name!r} cannot be merged into itself")
    strokes = tuple(replace(s, class_id=into.id) if s.class_id == gone.id else s for s in task.strokes)
    return document.with_task(replace(_without(task, gone), strokes=strokes))


def _delete_class(document: Document, header: dict[str, Any], _payload: bytes) -> Document:
    task = document.task(header["task"])
    return document.with_task(_without(task, task.paint_class(header["class"])))


def _without(task: Task, gone: PaintClass) -> Task:
    return replace(task, classes=tuple(c for c in task.classes if c.id != gone.id), deleted=(*task.deleted, gone))


def _paint(document: Document, header: dict[str, Any], payload: bytes) -> Document:
    task = document.task(header["task"])
    stroke = stroke_from_json(header["stroke"], payload)
    if stroke.id < document.next_stroke:
        raise InputError(f"stroke {stroke.id} is in the project already")
    if header["stroke"]["extent"] != list(document.image(stroke.image).extent):
        raise InputError(f"stroke {stroke.id} was painted on an image of {header['stroke']['extent']}")
    if stroke.class_id:
        task.paint_class(stroke.class_id)
    undone = tuple(i for i in task.undone if task.stroke(i).image != stroke.image)
    task = replace(task, strokes=(*task.strokes, stroke), undone=undone)
    return replace(document.with_task(task), next_stroke=stroke.id + 1)


def _undo(document: Document, header: dict[str, Any], _payload: bytes) -> Document:
    task = document.task(header["task"])
    stroke = task.stroke(header["stroke"])
    return document.with_task(replace(task.with_stroke(replace(stroke, undone=True)), undone=(*task.undone, stroke.id)))


def _redo(document: Document, header: dict[str, Any], _payload: bytes) -> Document:
    task = document.task(header["task"])
    stroke = task.stroke(header["stroke"])
    left = tuple(i for i in task.undone if i != stroke.id)
    return document.with_task(replace(task.with_stroke(replace(stroke, undone=False)), undone=left))


def _add_model(document: Document, header: dict[str, Any], _payload: bytes) -> Document:
    task, model = document.task(header["task"]), checked(ModelEntry(**header["model"]))
    return document.with_task(replace(task, models=(*task.models, model), next_model=model.id + 1))


def _restore(document: Document, header: dict[str, Any], payload: bytes) -> Document:
    """Another state in the place of this one; numbers that were given out stay taken."""
    restored = document_from_json(header["document"], payload)
    now = {t.name: t for t in document.tasks}
    tasks = tuple(_numbered_on(task, now[task.name]) if task.name in now else task for task in restored.tasks)
    changed = replace(restored, tasks=tasks, next_stroke=max(restored.next_stroke, document.next_stroke))
    return _at_least(changed, document.version)


def _numbered_on(task: Task, now: Task) -> Task:
    known = {c.id for c in task.classes + task.deleted}
    later = tuple(c for c in now.classes + now.deleted if c.id not in known)
    return replace(task, deleted=task.deleted + later, next_model=max(task.next_model, now.next_model))


CHANGES: dict[str, Change] = {
    "begin": _begin,
    "image": _add_image,
    "image-moved": _move_image,
    "image-named": _name_image,
    "image-mask": _mask_image,
    "task": _add_task,
    "settings": _change_task,
    "class": _put_class,
    "class-order": _order_classes,
    "classes-merged": _merge_classes,
    "class-deleted": _delete_class,
    "stroke": _paint,
    "undo": _undo,
    "redo": _redo,
    "model": _add_model,
    "restore": _restore,
}
