"""Labels from and for other programs: which values a file holds, which classes they are, and a project's labels in and out.

A value becomes a class because someone said so, or because the file names its values and a class has that name; never because the
numbers happen to agree.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from brushwork.document import Task
from brushwork.errors import InputError
from brushwork.image import Image
from brushwork.io import geojson, label_values, open_labels, write_labels
from brushwork.io.label_files import itksnap_names
from brushwork.io.stored import suffix_of
from brushwork.labels import Labels
from brushwork.project import Project

SHOWN = 20  # values in a message
UNBOUNDED = (1 << 31, 1 << 31)  # a plane as large as any
Meanings = Mapping[int | str, str | None]


@dataclass(frozen=True)
class LabelValue:
    """A value in a file of labels, and how many pixels hold it. The classes of annotations are numbered as they come.

    name, color : "" where the file does not tell. pixels : of annotations the sum over all shapes, which may overlap.
    """

    value: int
    name: str
    pixels: int
    color: str = ""

    def __str__(self) -> str:
        named = f" {self.name!r}" if self.name else ""
        return f"{self.value}{named} ({self.pixels:,} {'pixel' if self.pixels == 1 else 'pixels'})"


@dataclass(frozen=True)
class LabelFile:
    """The values that a file of labels holds, 0 left out. notes : in words, what else there is and is never taken."""

    path: str
    values: tuple[LabelValue, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Imported:
    """strokes, pixels : how many were painted. classes : of every value its class, None where it was left out."""

    strokes: int
    pixels: int
    classes: tuple[tuple[LabelValue, str | None], ...]
    notes: tuple[str, ...]


def label_file(path: str | Path, *, image: Image | None = None, names: str | Path | None = None) -> LabelFile:
    """Which values, or named classes, a file of labels holds.

    image : that annotations are on; pixels outside are not counted. names : label descriptions of ITK-SNAP, which name values.
    Raises InputError where a file cannot be read, or the values are no whole numbers.
    """
    if is_annotations(path):
        found, notes = geojson.read(Path(path))
        plane = image.shape[-2:] if image is not None else UNBOUNDED
        pixels: Counter[str] = Counter()
        for annotation in found:
            pixels[annotation.name] += annotation.n_pixels(plane)
        colors = {a.name: a.color for a in reversed(found)}
        values = [LabelValue(i, name, n, colors[name]) for i, (name, n) in enumerate(pixels.items(), start=1)]
        return LabelFile(str(path), tuple(values), notes)
    told = itksnap_names(Path(names)) if names is not None else {}
    counted = [(value, *told.get(value, ("", "")), n) for value, n in label_values(path).items()]
    return LabelFile(str(path), tuple(LabelValue(value, name, n, color) for value, name, color, n in counted))


def is_annotations(path: str | Path) -> bool:
    """Whether a file holds shapes of named classes; their numbers are not in the file."""
    return suffix_of(Path(path), geojson.SUFFIXES) in geojson.SUFFIXES


def classes_of(
    file: LabelFile, known: Iterable[str], mapping: Meanings | None = None, *, new: bool = False
) -> dict[int, str | None]:
    """Which class every value of a file is, None for those that are left out.

    known : names of classes. mapping : value or its name -> class, None to leave it out; named values that it does not mention are
    the class of their name. new : classes that are not known are fine.
    Raises InputError where a value has no class, or its class is not known; it shows all values.
    """
    known, mapping = list(known), mapping or {}
    there = f"classes are {', '.join(known)}" if known else "there are no classes yet (--new-classes makes them)"
    found: dict[int, str | None] = {}
    without: list[str | int] = []
    for entry in file.values:
        key = entry.value if entry.value in mapping else entry.name
        if key in mapping:
            found[entry.value] = mapping[key]
        elif entry.name and (new or entry.name in known):
            found[entry.value] = entry.name
        else:
            without.append(entry.name or entry.value)
    if without:
        raise InputError(
            f"no class is given for {_few(map(repr, without))}: {file.path} holds {_few(file.values)}. "
            f"Say which class each is, or 0 to leave it out (--map {without[0]}={known[0] if known else 'NAME'}); {there}"
        )
    absent = sorted({name for name in found.values() if name is not None} - set(known))
    if absent and not new:
        raise InputError(
            f"there is no class {_few(map(repr, absent))}; {there}. Map to one that there is, or make it (--new-classes)"
        )
    return found


def _few(things: Iterable[object]) -> str:
    words = [str(thing) for thing in things]
    return ", ".join(words[:SHOWN]) + (f" and {len(words) - SHOWN} more" if len(words) > SHOWN else "")


def read_labels(
    path: str | Path, image: Image, classes: Mapping[int, int], *, offset: Sequence[int] | None = None
) -> Labels:
    """The labels of an image that a file of any kind holds.

    classes : value (LabelFile) -> class from 1, or 0 to leave it out. offset : as for `open_labels`.
    """
    if not is_annotations(path):
        return open_labels(path, image, mapping=classes, offset=offset)
    annotations, _ = geojson.read(Path(path))
    by_name = {name: classes[i] for i, name in enumerate(dict.fromkeys(a.name for a in annotations), start=1)}
    return geojson.labels_from(annotations, by_name, image, offset)


def import_labels(
    project: Project,
    path: str | Path,
    *,
    image: str,
    task: str = "",
    mapping: Meanings | None = None,
    names: str | Path | None = None,
    offset: Sequence[int] | None = None,
    new_classes: bool = False,
) -> Imported:
    """Paint what a file holds into a project, as strokes of origin "import". Nothing is painted where something does not fit.

    image : the id of an image in the project. mapping : as for `classes_of`. names : label descriptions of ITK-SNAP.
    offset : where in the image the first pixel of a smaller label image lies. new_classes : makes classes that there are not.
    """
    if project.read_only:
        raise InputError(project.why_read_only)
    opened, there = project.image(image), project.document.task(task)
    file = label_file(path, image=opened, names=names)
    if not file.values:
        raise InputError(f"{path} holds nothing that is painted{''.join(f'; {note}' for note in file.notes)}")
    by_value = classes_of(file, [c.name for c in there.classes], mapping, new=new_classes)
    order = list(dict.fromkeys(name for name in by_value.values() if name is not None))
    numbers = {value: 0 if name is None else 1 + order.index(name) for value, name in by_value.items()}
    found = read_labels(path, opened, numbers, offset=offset)
    ids = _with_classes(project, there, order, {by_value[v.value]: v.color for v in reversed(file.values)})
    n_strokes = project.paint_labels(there.name, image, found, {k: ids[name] for k, name in enumerate(order, start=1)})
    notes = (*file.notes, *_unused(file, mapping or {}))
    return Imported(n_strokes, len(found), tuple((v, by_value[v.value]) for v in file.values), notes)


def _unused(file: LabelFile, mapping: Meanings) -> list[str]:
    """In words, what a mapping names that the file does not hold."""
    absent = set(mapping) - {v.value for v in file.values} - {v.name for v in file.values}
    return [f"{file.path} holds no {_few(sorted(map(repr, absent)))}"] if absent else []


def _with_classes(
    project: Project, task: Task, names: Sequence[str], colors: Mapping[str | None, str]
) -> dict[str, int]:
    """The ids of classes; those that there are not are made, in the file's colors."""
    ids = {c.name: c.id for c in task.classes}
    for name in names:
        if name not in ids:
            ids[name] = project.add_class(task.name, name, colors.get(name) or None).id
    return ids


def export_labels(
    project: Project, path: str | Path, *, image: str, task: str = "", overwrite: bool = False
) -> LabelFile:
    """Write what is painted on an image for other programs; the suffix names the format (`write_labels`).

    image : the id of an image in the project. Returns what was written: pixels hold the ids of classes.
    """
    there = project.document.task(task)
    labels = project.labels(there.name, image)
    if not len(labels):
        raise InputError(f"nothing is painted on {project.document.image(image).path} in task {there.name!r}")
    names, colors = ({c.id: getattr(c, what) for c in there.classes} for what in ("name", "color"))
    write_labels(labels, project.image(image), path, names=names, colors=colors, overwrite=overwrite)
    counts = np.bincount(labels.classes, minlength=max(names) + 1)
    return LabelFile(str(path), tuple(LabelValue(k, names[k], int(counts[k]), colors[k]) for k in names if counts[k]))
