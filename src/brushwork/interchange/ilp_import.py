"""An ilastik project as a project of ours: its images, what was painted, its classes and features, and its forest as a model."""

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PureWindowsPath
from typing import Any

from brushwork.document import ImageEntry
from brushwork.errors import InputError
from brushwork.features import FeatureSet, selection
from brushwork.image import SPATIAL, ArrayImage
from brushwork.image import n_channels as channels_of
from brushwork.interchange.ilp import IlpDataset, IlpLane, IlpProject, IlpStage, open_ilp, version_key
from brushwork.interchange.ilp_images import doubt, is_one_file, labels_on, open_dataset
from brushwork.interchange.ilp_links import without_pixels
from brushwork.interchange.ilp_models import classifier_of, distinct, examples_of, feature_set
from brushwork.io import open_image, write_image
from brushwork.io.aside import refuse_existing, remove, told
from brushwork.io.places import noted
from brushwork.project import Project
from brushwork.project_folder import IMAGES
from brushwork.project_suffix import SUFFIX

LARGEST = 1 << 50  # pixels of an image
TASKS = {1: ("main",), 2: ("stage 1", "stage 2")}  # by the number of stages


@dataclass(frozen=True)
class ImportedProject:
    """What came over.

    n_lanes, n_images : how many ilastik had, and how many were found. models : tasks whose forest came too. notes : what did not
    come, or not as it was, in words.
    """

    folder: Path
    n_lanes: int
    n_images: int
    n_strokes: int
    n_pixels: int
    models: tuple[str, ...]
    notes: tuple[str, ...]


def import_ilp(
    ilp: str | Path, folder: str | Path, *, data: str | Path | None = None, dialect: str | None = None
) -> ImportedProject:
    """Make a project of an ilastik project; the folder appears when it is complete.

    folder : NAME.brushwork, which does not exist. data : a folder in which images are looked for that are not in their place.
    dialect : how the structure tensor was computed ("" or "ilastik<1.3"); None decides by the version, images and labels.
    Images are linked; those inside the ilastik project, and stacks of files, are written into the new one. What is painted on
    images that are not found waits for them (Project.relink) if the size they had is known.

    Raises
    ------
    InputError, RunError
        where the project cannot be read or holds no pixel classification, or the folder exists or cannot be written.
    """
    folder = Path(folder).expanduser()
    if folder.suffix != SUFFIX:
        raise InputError(f"a project is a folder whose name ends with {SUFFIX}; {folder} was given")
    refuse_existing(folder, overwrite=False)
    source = open_ilp(Path(ilp).expanduser())
    source.stage()  # there is one
    aside = folder.with_name(f".{folder.stem}.{os.getpid()}{SUFFIX}")  # beside it, so that relative links stay right
    try:
        with told(folder):
            with Project.create(aside) as project:
                done = _filled(project, source, data, dialect)
            aside.rename(folder)
    finally:
        remove(aside)
    return replace(done, folder=folder)


def _filled(project: Project, source: IlpProject, data: str | Path | None, dialect: str | None) -> ImportedProject:
    notes = list(source.problems)
    images, entries = _add_images(project, source, data, notes)
    names = TASKS[len(source.stages)]
    models, n_strokes, n_pixels = [], 0, 0
    for number, (task, stage) in enumerate(zip(names, source.stages), 1):
        project.add_task(task)
        project.change_task(task, priors="strokes")  # ilastik knows no others
        ids = {
            k: project.add_class(task, name, theirs.color, prediction_color=theirs.map_color).id
            for k, (name, theirs) in enumerate(zip(_class_names(stage), stage.classes), start=1)
        }
        _set_features(project, task, stage, notes)
        strokes, pixels = _paint_lanes(project, task, stage, images, entries, ids, notes)
        n_strokes, n_pixels = n_strokes + strokes, n_pixels + pixels
        if _keep_model(project, task, source, number, images, notes, dialect):
            models.append(task)
    if len(source.stages) > 1:
        notes.append(f"{names[1]}: its model also looks at the result of {names[0]}, what is trained here does not")
    n_images = sum(image is not None for image in images)
    return ImportedProject(
        project.folder, len(source.lanes), n_images, n_strokes, n_pixels, tuple(models), tuple(notes)
    )


def _class_names(stage: IlpStage) -> tuple[str, ...]:
    return distinct([c.name or f"Label {k}" for k, c in enumerate(stage.classes, 1)])


# ---------------------------------------------------------------- images


def _add_images(
    project: Project, source: IlpProject, data: str | Path | None, notes: list[str]
) -> tuple[list[ArrayImage | None], list[ImageEntry | None]]:
    """(images as ilastik saw them, their entries in the project), one of each per lane, None where there is none."""
    images: list[ArrayImage | None] = []
    entries: list[ImageEntry | None] = []
    n_lanes = max(len(stage.labels) for stage in source.stages)
    for number, lane in enumerate((*source.lanes, *[IlpLane(None)] * (n_lanes - len(source.lanes)))):
        image, entry = None, None
        n = sum(len(stage.labels[number]) for stage in source.stages)
        if lane.raw is None and n:
            notes.append(f"lane {number}: {n:,} painted pixels were left out: nothing says on which image")
        if lane.raw is not None:
            try:
                image = open_dataset(source, lane.raw, data)
                if said := doubt(lane.raw, image.uri):
                    notes.append(f"lane {number}: {said}")
                uri, how = _linked(project, lane.raw, image)
                entry = project.add_image(uri, **how)
            except InputError as error:
                image, entry = None, _expect_image(project, source, lane.raw)
                left = f"{n:,} painted pixels were left out" if entry is None else f"{n:,} painted pixels wait for it"
                notes.append(f"lane {number}: {left}: {error}")
        twin = next(
            (k for k, e in enumerate(entries) if e is not None and entry is not None and e.id == entry.id), None
        )
        if twin is not None:
            notes.append(
                f"lane {number}: it shows the image of lane {twin}, so both became one, which keeps the name and mask of that lane"
            )
        elif entry is not None and lane.raw is not None and lane.raw.nickname:
            project.name_image(entry.id, lane.raw.nickname)
        if lane.mask is not None and twin is None:
            _add_mask(project, source, lane.mask, entry, data, f"lane {number}", notes)
        images.append(image)
        entries.append(entry)
    used = {entry.path for entry in project.document.entries}
    for path in (project.folder / IMAGES).glob("*"):
        if f"{IMAGES}/{path.name}" not in used:
            remove(path)  # of an image that was there already, or cannot join the others
    return images, entries


def _add_mask(
    project: Project,
    source: IlpProject,
    mask: IlpDataset,
    entry: ImageEntry | None,
    data: str | Path | None,
    lane: str,
    notes: list[str],
) -> None:
    """Give an image its prediction mask; one that is not found is waited for like an image."""
    if entry is None:
        notes.append(f"{lane}: its prediction mask was left out, as its image was")
        return
    try:
        uri, how = _linked(project, mask, open_dataset(source, mask, data))
        project.mask_image(entry.id, uri, axes=how["axes"], level=how["level"])
    except InputError as error:
        expected = _expected(project, source, mask)
        if expected is not None and (expected.shape, expected.n_frames) == (entry.shape, entry.n_frames):
            project.expect_mask(entry.id, expected)
        else:
            notes.append(f"{lane}: its prediction mask was left out: {error}")
            return
        notes.append(f"{lane}: its prediction mask is waited for: {error}")
    there = project.document.image(entry.id).mask
    if there is not None and mask.nickname:
        project.name_image(there.id, mask.nickname)


def _expect_image(project: Project, source: IlpProject, data: IlpDataset) -> ImageEntry | None:
    """An image that was not found; None where it cannot join the others."""
    expected, there = _expected(project, source, data), project.document.images
    if expected is None:
        return None
    kinds = [(len(e.shape), len(e.channel_names)) for e in (*there[:1], expected)]
    return project.expect_image(expected) if kinds[0] == kinds[-1] else None


def _expected(project: Project, source: IlpProject, data: IlpDataset) -> ImageEntry | None:
    """What was not found, of the size that ilastik noted; None where it noted none."""
    n_channels, frames = data.length("c"), data.length("t")
    if data.location != "file" or not is_one_file(data) or data.shape is None or n_channels is None:
        return None
    if math.prod(data.shape) > LARGEST:
        return None
    axes = "".join(a for a in data.axes if a in "yx" or data.length(a) != 1)
    shape = tuple(data.length(a) or 1 for a in SPATIAL if a in axes)
    names = tuple(f"channel {i}" for i in range(n_channels)) if n_channels > 1 else ("intensity",)
    stored = PureWindowsPath(data.paths[0])
    home = source.path.absolute().parent
    path = stored.as_posix() if stored.drive else noted(os.path.join(home, data.paths[0]), project.folder)
    return ImageEntry("", path, shape, axes, "", names, options={"axes": axes}, n_frames=frames or 1)


def _linked(project: Project, data: IlpDataset, image: ArrayImage) -> tuple[str, dict[str, Any]]:
    """(where an image is as it was opened, how it is opened); what no path leads to is written into the project."""
    if is_one_file(data):
        for axes in (None, image.axes):
            try:
                opened = open_image(image.uri, axes=axes, level=data.level or None)
            except InputError:
                continue
            if _looks_like(opened, image):
                size = image.pixel_size if opened.pixel_size is None else None
                return image.uri, {"axes": axes, "level": data.level or None, "pixel_size": size}
    name, n = re.sub(r"[^\w.-]+", "_", data.nickname) or "image", 1
    path = project.folder / IMAGES / f"{name}.h5"
    while path.exists():
        n += 1
        path = path.with_name(f"{name}_{n}.h5")
    write_image(image, path)
    return str(path), {"axes": None, "level": None, "pixel_size": None}


def _looks_like(opened: ArrayImage, image: ArrayImage) -> bool:
    """Whether two views of a file are the same but for axes of length 1."""
    sides = [
        (i.shape, i.n_frames, channels_of(i), [a for a, n in zip(i.axes, i.source.shape) if n > 1])
        for i in (opened, image)
    ]
    return sides[0] == sides[1]


# ---------------------------------------------------------------- strokes, features, forest


def _paint_lanes(
    project: Project,
    task: str,
    stage: IlpStage,
    images: list[ArrayImage | None],
    entries: list[ImageEntry | None],
    ids: Mapping[int, int],
    notes: list[str],
) -> tuple[int, int]:
    """(strokes, pixels) that were painted. ids : of the task's classes, by ilastik's numbers."""
    n_strokes, n_pixels = 0, 0
    for number, (labels, entry, image) in enumerate(zip(stage.labels, entries, images)):
        if entry is not None and len(labels):
            try:
                found = labels_on(image or without_pixels(entry), labels)
            except InputError as error:
                notes.append(f"lane {number}, {task}: {len(labels):,} painted pixels were left out: {error}")
                continue
            n_before = len(project.labels(task, entry.id))
            n_strokes += project.paint_labels(task, entry.id, found, ids)
            n_new = len(project.labels(task, entry.id)) - n_before
            if n_new < len(found):
                notes.append(
                    f"lane {number}, {task}: {len(found) - n_new:,} of its pixels were painted in an earlier lane too; they are of "
                    "the class that they have here"
                )
            n_pixels += n_new
    return n_strokes, n_pixels


def _set_features(project: Project, task: str, stage: IlpStage, notes: list[str]) -> None:
    """The task's selection; channels and dimensions stay open."""
    if stage.features is None or not stage.features.n_chosen:
        notes.append(f"{task}: no features were chosen, so it begins with all")
        return
    ndim = next((len(entry.shape) for entry in project.document.images), 3)
    try:
        chosen = feature_set(stage.features, ndim, 1).features
    except InputError as error:
        notes.append(f"{task}: its features were left out: {error}")
        return
    settled = FeatureSet(tuple(replace(f, channels=None, in_2d=None if ndim == 2 else f.in_2d) for f in chosen))
    text = selection(settled, 1)
    if set(FeatureSet.parse(text).features) != set(settled.features):  # a sigma of many digits
        text = json.dumps([asdict(f) for f in settled.features])
    project.change_task(task, features=text)


def _keep_model(
    project: Project,
    task: str,
    source: IlpProject,
    number: int,
    images: list[ArrayImage | None],
    notes: list[str],
    dialect: str | None,
) -> bool:
    """Keep ilastik's forest as the task's model; what is told of it elsewhere is not told again."""
    classifier = source.stages[number - 1].classifier
    if classifier.forest is None:
        if not classifier.problem:
            notes.append(f"{task}: it holds no forest; train here")
        return False
    if dialect is None and version_key(source.version) >= (1, 3):
        dialect = ""  # else images and labels tell
    try:
        model = classifier_of(source, stage=number, dialect=dialect, examples=examples_of(source, images))
    except InputError as error:
        notes.append(f"{task}: the forest was left out: {error}")
        return False
    project.keep_imported(task, replace(model, classes=_class_names(source.stages[number - 1])))
    return True
