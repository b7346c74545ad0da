"""The files of a project's folder, and how a document is read from them.

    NAME.brushwork/
      project.json             format, version and what there is, for people and other programs; written again from the rest
      strokes.log              the changes since the newest snapshot (journal.py)
      snapshots/N.snapshot     the whole document after change N (two records: "point", and "restore" with the document)
      snapshots/N.log          the changes that led from the snapshot before to this one
      models/NNN.bwm           one per training
      images/                  images that were copied into the project
      lock                     who has it open for writing

A snapshot is complete or not there. Until ten newer ones exist, the changes behind it are kept too: a snapshot that the disk has
damaged is replaced by the one before and the changes since.
"""

import json
import os
import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brushwork._version import __version__
from brushwork.changes import applied
from brushwork.document import FORMAT, VERSION, Document, ImageEntry, Task, document_to_json, newer
from brushwork.errors import InputError
from brushwork.io.aside import written_aside
from brushwork.journal import Record, frames, name_aside, read_records, sync_folder, write_records

SUMMARY, LOG, LOCK = "project.json", "strokes.log", "lock"
SNAPSHOTS, MODELS, IMAGES = "snapshots", "models", "images"
KEPT_POINTS = 10


@dataclass(frozen=True)
class Point:
    """A state that can be restored: the document after change `serial`. when : seconds since 1970."""

    serial: int
    when: float
    n_strokes: int
    path: Path


@dataclass(frozen=True, eq=False)
class Loaded:
    """A document as a folder holds it.

    notes : what was damaged and what was done about it, in words. damaged : files that could not be read to the end.
    is_broken : whether changes in strokes.log could not be used because some before them are lost.
    """

    document: Document
    notes: tuple[str, ...]
    damaged: tuple[Path, ...]
    is_broken: bool


def is_project(folder: Path) -> bool:
    return any((folder / name).exists() for name in (SUMMARY, LOG, SNAPSHOTS))


def load(folder: Path, records: Iterable[Record]) -> Loaded:
    """The document of a folder whose strokes.log holds `records`. Nothing is written.

    Raises InputError where a newer version wrote it.
    """
    document, notes, damaged = Document(), [], []
    for path in _numbered(folder, ".snapshot"):
        found = _snapshot(path)
        if found is not None:
            document = found
            break
        damaged.append(path)
        notes.append(f"{path.name} is damaged; the snapshot before it and the changes since were read instead")
    logs = [path for path in reversed(_numbered(folder, ".log")) if int(path.stem) > document.serial]
    for path in logs:
        document, is_whole = _replayed(document, read_records(path)[0])
        if not is_whole or document.serial < int(path.stem):
            damaged.append(path)
            notes.append(f"{path.name} is damaged after change {document.serial}")
            break
    document, is_whole = _replayed(document, records)
    if not is_whole:
        notes.append(f"changes after number {document.serial} are lost, and with them later ones that lean on them")
        damaged += [path for path in logs if int(path.stem) > document.serial and path not in damaged]
    return Loaded(document, tuple(notes), tuple(damaged), not is_whole)


def _replayed(document: Document, records: Iterable[Record]) -> tuple[Document, bool]:
    """(the document after the records that follow on it, whether none was missing before another)."""
    for record in records:
        serial = record.header.get("n", 0)
        if not isinstance(serial, int) or serial > document.serial + 1:
            return document, False
        if serial > document.serial:
            document = applied(document, record)
    return document, True


def _numbered(folder: Path, suffix: str) -> list[Path]:
    """The files snapshots/N.suffix, the newest first."""
    return sorted((p for p in (folder / SNAPSHOTS).glob(f"*{suffix}") if p.stem.isdigit()), reverse=True)


def _snapshot(path: Path) -> Document | None:
    """The document of a snapshot, None where it is damaged."""
    try:
        records, n_good = read_records(path)
        if len(records) != 2 or n_good != path.stat().st_size:
            return None
    except OSError:
        return None
    return document_at(records)


def document_at(records: list[Record]) -> Document:
    return applied(Document(), records[1])


def set_aside(paths: Iterable[Path]) -> None:
    """Give damaged files other names, so that nothing is read from them again and nothing written over them."""
    for path in paths:
        path.rename(name_aside(path))


# ---------------------------------------------------------------- snapshots


def points(folder: Path) -> list[Point]:
    """The states that can be restored, the newest first."""
    found = []
    for path in _numbered(folder, ".snapshot"):
        first = next(frames(path), None)
        if first is not None:
            said = first[0].header
            serial, when, n_strokes = (said.get(key) for key in ("n", "when", "strokes"))
            if isinstance(serial, int) and isinstance(when, int | float) and isinstance(n_strokes, int):
                found.append(Point(serial, when, n_strokes, path))
    return found


def restore_record(point: Point) -> Record:
    """The change to the state of a point; raises InputError where its file is damaged."""
    records, _ = read_records(point.path) if point.path.exists() else ([], 0)
    if len(records) != 2:
        raise InputError(f"{point.path} is damaged or gone; restore another point of the history")
    return Record(records[1].header | {"when": time.time()}, records[1].payload)


def write_point(folder: Path, document: Document) -> Point:
    """Write a snapshot; complete and on disk when this returns."""
    n_strokes = sum(not s.undone for task in document.tasks for s in task.strokes)
    path = folder / SNAPSHOTS / f"{document.serial:09d}.snapshot"
    point = Point(document.serial, time.time(), n_strokes, path)
    facts, payload = document_to_json(document)
    said = {"n": point.serial, "kind": "point", "when": point.when, "strokes": n_strokes}
    state = {"n": point.serial, "kind": "restore", "when": point.when, "document": facts}
    with written_aside(path, overwrite=True) as aside:
        write_records(aside, [Record(said), Record(state, payload)])
    sync_folder(path.parent)
    sync_folder(folder)
    return point


def log_behind(point: Point) -> Path:
    """Where the changes up to a point are kept."""
    return point.path.with_suffix(".log")


def forget_old_points(folder: Path) -> None:
    """Keep the newest snapshots and the changes between them."""
    snapshots = _numbered(folder, ".snapshot")
    if len(snapshots) > KEPT_POINTS:
        oldest = snapshots[KEPT_POINTS - 1].stem
        old_logs = [path for path in _numbered(folder, ".log") if path.stem <= oldest]
        for path in [*snapshots[KEPT_POINTS:], *old_logs]:
            with suppress(OSError):
                path.unlink()


# ---------------------------------------------------------------- project.json


def write_summary(folder: Path, document: Document) -> None:
    """Write project.json: aside, to the disk, renamed."""
    data = {
        "format": FORMAT,
        "version": document.version,
        "software": f"brushwork {__version__}",
        "changes": document.serial,
        "images": [
            _image_summary(e)
            | ({"nickname": e.nickname} if e.nickname else {})
            | ({"mask": _image_summary(e.mask)} if e.mask is not None else {})
            for e in document.images
        ],
        "tasks": [_task_summary(task) for task in document.tasks],
    }
    with written_aside(folder / SUMMARY, overwrite=True) as aside, aside.open("w", encoding="utf-8") as file:
        json.dump(data, file, indent=1, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())


def _image_summary(e: ImageEntry) -> dict[str, Any]:
    return (
        {"id": e.id, "path": e.path, "shape": e.shape, "frames": e.n_frames, "axes": e.axes, "dtype": e.dtype}
        | {"channels": e.channel_names, "pixel_size": e.pixel_size, "options": e.options}
        | ({"part_of": e.part_of} if e.part_of else {})
    )


def _task_summary(task: Task) -> dict[str, Any]:
    strokes = [s for s in task.strokes if not s.undone]
    return {
        "name": task.name,
        "classes": [
            {"id": c.id, "name": c.name, "color": c.color, "strokes": sum(s.class_id == c.id for s in strokes)}
            | ({"prediction_color": c.prediction_color} if c.prediction_color else {})
            for c in task.classes
        ],
        "features": task.features,
        "channels": task.channels,
        "estimator": task.estimator,
        "priors": task.priors,
        "seed": task.seed,
        "models": [{"file": m.file, "accuracy": m.accuracy, "last_stroke": m.last_stroke} for m in task.models],
    }


def check_summary(folder: Path) -> tuple[int, tuple[str, ...]]:
    """(changes that project.json tells of, what is wrong with it in words).

    Raises InputError where a newer version wrote it, or where all that it tells of is gone.
    """
    path = folder / SUMMARY
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        version, changes = data["version"], data["changes"]
        if data["format"] != FORMAT or not isinstance(version, int) or not isinstance(changes, int):
            raise ValueError("other values")
    except FileNotFoundError:
        return 0, (f"{SUMMARY} was missing; it is made of the rest",)
    except (ValueError, KeyError, TypeError):
        return 0, (f"{SUMMARY} was damaged; it is made of the rest",)
    if version > VERSION:
        raise newer(version)
    if changes and not (folder / LOG).exists() and not points(folder):
        raise InputError(f"{folder} has lost its {LOG}, which holds what was painted; bring it back from a copy")
    return changes, ()


def keep_summary(folder: Path) -> Path:
    """Copy a project.json that lists more than there is to a name of its own."""
    aside = name_aside(folder / SUMMARY)
    with suppress(OSError):
        shutil.copyfile(folder / SUMMARY, aside)
    return aside
