"""Projects on the command line: brushwork open and pack, and what train, predict and info do with one."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from brushwork.cli import options as o
from brushwork.cli.console import console, errors
from brushwork.cli.main import app
from brushwork.errors import InputError, MissingPart, unknown
from brushwork.project_suffix import SUFFIX

if TYPE_CHECKING:
    from brushwork.classifier import Classifier
    from brushwork.image import Image
    from brushwork.project import ImageEntry, PaintClass, Project


def is_project(path: str | Path) -> bool:
    return str(path).rstrip("/").endswith(SUFFIX)


@contextmanager
def opened(path: str | Path) -> Iterator["Project"]:
    """The project, told what was found damaged on opening."""
    from brushwork.project import Project

    with Project.open(path) as project:
        for note in (*project.notes, *([project.why_read_only] if project.read_only else [])):
            errors.print(note, style="dim", highlight=False, markup=False, soft_wrap=True)
        yield project


def train_project(path: str | Path, out: Path | None, task: str, threads: int | None) -> None:
    """Train on what is painted in a project; the model is kept there, and written to `out` where one is given."""
    from brushwork.cli.tables import learnt

    with opened(path) as project:
        began = time.perf_counter()
        model = project.train(task, threads=threads)
        seconds = time.perf_counter() - began
        if out is not None:
            model.save(out)
        kept = project.folder / project.document.task(task).models[-1].file
    console.print(f"{sum(model.provenance['pixels'].values()):,} painted pixels, trained and tested in {seconds:.2f} s")
    console.print(learnt(model))
    console.print(f"model: {out or kept}", highlight=False, soft_wrap=True)


def model_of(path: str | Path, task: str, threads: int | None) -> "Classifier":
    """A model of what is painted in a project now; the project stays as it is."""
    from brushwork.project import IMPORTED

    with opened(path) as project:
        model = project.model(task, threads=threads)
    if IMPORTED in model.provenance:
        note = f"with the forest of {model.provenance[IMPORTED]}, as nothing was painted since"
        errors.print(note, style="dim", highlight=False, markup=False, soft_wrap=True)
    return model


def images_of(path: str | Path) -> dict[str, "Image"]:
    """Every image of a project by its path; raises InputError where one is not found."""
    with opened(path) as project:
        images = [project.image(entry.id) for entry in project.document.images]
    if not images:
        raise InputError(f"{path} holds no images yet; add some with: brushwork open IMAGE ... -p {path}")
    return {image.uri: image for image in images}


def masks_of(path: str | Path, uris: Sequence[str]) -> dict[str, "Image"]:
    """What the masks of a project leave out, by those of these paths that are its images'.

    Raises InputError where a mask is not found.
    """
    from brushwork.interchange.ilp_images import LeftOut
    from brushwork.project import Project

    found: dict[str, Image] = {}
    with Project.open(path) as project:
        masks = [(_spot(project.place(e.id)), e.mask) for e in project.document.images if e.mask is not None]
        for uri in uris:
            file, inside = _spot(uri)
            mask = next((m for (f, i), m in masks if f == file and (i == inside or not i or not inside)), None)
            if mask is not None:
                found[uri] = LeftOut(project.image(mask.id))
    return found


def _spot(uri: str) -> tuple[str, str]:
    """(the file, links followed, the array inside it); "" stands for the only array."""
    from brushwork.io.places import is_remote, split_inside

    file, inside = split_inside(uri)
    return (uri, "") if is_remote(uri) else (os.path.realpath(file), inside)


def info_project(path: Path) -> None:
    """What a project holds."""
    from brushwork.cli.tables import facts

    with opened(path) as project:
        document = project.document
        rows: list[tuple[str, Any]] = []
        for i, e in enumerate(document.images, start=1):
            rows.append((f"image {i}", _described(e)))
            rows += [("  mask", _described(e.mask))] if e.mask is not None else []
        for task in document.tasks:
            strokes = [s for s in task.strokes if not s.undone]
            rows += [
                (f"task {task.name}", f"{len(strokes)} strokes, features {task.features}, estimator {task.estimator}"),
                ("  classes", ", ".join(f"{c.name} ({_colors(c)})" for c in task.classes)),
            ]
            for m in task.models[-1:]:
                rows.append(
                    ("  model", f"{m.file}  accuracy {m.accuracy if m.accuracy is not None else 'not measured'}")
                )
    console.print(facts(str(path), rows))


def _described(entry: "ImageEntry") -> str:
    called = f"  called {entry.nickname}" if entry.nickname else ""
    return f"{entry.path}  {entry.axes} {entry.shape} {entry.dtype or 'not seen yet'}{called}"


def _colors(paint_class: "PaintClass") -> str:
    apart = paint_class.prediction_color
    return f"{paint_class.color}, predicted {apart}" if apart else paint_class.color


@app.command("open")
def open_(
    what: Annotated[list[str], typer.Argument(help="Images, or one project (NAME.brushwork).")],
    project: Annotated[
        Path | None,
        typer.Option("-p", "--project", help="The project to put images into; else it lies beside the first."),
    ] = None,
    axes: o.Axes = None,
    level: o.Level = None,
    pixel_size: o.PixelSize = None,
) -> None:
    """Paint and see: opens napari with the images and the dock. Every stroke is saved as you paint."""
    from brushwork.io.places import is_remote

    try:
        from brushwork.napari.start import project_beside, run
    except ImportError as error:
        raise MissingPart(f"painting in a window ({error.name})", "napari") from None
    folder, images = _settled(what, project)
    how = {"axes": axes, "level": o.level_of(level), "pixel_size": o.pixel_size_of(pixel_size)}
    if folder is None:
        folder = project_beside(images[0])
        if is_remote(images[0]):
            console.print(f"what you paint is kept in {folder}", highlight=False, soft_wrap=True)
    run(folder, images, **how)


def _settled(what: list[str], project: Path | None) -> tuple[Path | None, list[str]]:
    """(the project's folder if it was given, images)."""
    projects = [w for w in what if is_project(w)]
    images = [w for w in o.expanded(what) if w not in projects]
    if len(projects) + (project is not None) > 1:
        raise InputError(f"several projects were given ({', '.join(projects)}); open one at a time")
    folder = Path(projects[0]) if projects else project
    if folder is not None and folder.suffix != SUFFIX:
        raise InputError(f"a project ends with {SUFFIX}; {folder} was given")
    if projects and not folder.exists():  # type: ignore[union-attr]
        raise InputError(f"there is no project {folder}; give images to begin one")
    return folder, images


@app.command()
def relink(
    project: Annotated[Path, typer.Argument(help="The project, NAME.brushwork.")],
    path: Annotated[str, typer.Argument(help="Where one of its images is now.")],
    image: Annotated[
        str | None,
        typer.Option("--image", help="Which image or mask that is, as it was called; else the missing one it fits."),
    ] = None,
) -> None:
    """Say where an image or its mask is that was moved; others that moved with it are found too."""
    with opened(project) as there:
        if image is not None:
            wanted = [_named(there, image, there.document.entries)]
        else:  # masks are known by their size alone
            is_image = {e.id for e in there.document.images}
            wanted = [e for e in _lost(there) if e.id in is_image or Path(e.path).name == Path(path).name]
        if not wanted:
            raise InputError(f"every image of {project} is where it was; say which one is meant with --image NAME")
        found = _relinked(there, wanted, path)
        for entry_id in found:
            console.print(f"found: {there.place(entry_id)}", highlight=False, soft_wrap=True)
        for entry in _lost(there):
            console.print(f"still missing: {there.place(entry.id)}", highlight=False, soft_wrap=True)


def _lost(project: "Project") -> "list[ImageEntry]":
    """The images and masks that are not where they were, or cannot be opened there."""
    lost = []
    for entry in project.document.entries:
        try:
            project.image(entry.id)
        except InputError:
            lost.append(entry)
    return lost


def image_named(project: "Project", name: str) -> "ImageEntry":
    """The one image that is called so, by its file's name, its nickname or its path."""
    return _named(project, name, project.document.images)


def _named(project: "Project", name: str, entries: "Sequence[ImageEntry]") -> "ImageEntry":
    found = [e for e in entries if name in (e.path, project.place(e.id))]
    found = found or [e for e in entries if name in (Path(e.path).name, e.nickname)]
    if not found:
        raise unknown("image", name, [e.path for e in entries])
    if len(found) > 1:
        raise InputError(f"several images are called {name}; give the path: {', '.join(e.path for e in found)}")
    return found[0]


def _relinked(project: "Project", wanted: "list[ImageEntry]", path: str) -> list[str]:
    """The ids of all images that were found; `path` holds one of `wanted`, most likely one of its name."""
    from brushwork.project import ImageReplaced

    wrong = []
    for entry in sorted(wanted, key=lambda e: Path(e.path).name != Path(path).name):
        try:
            return project.relink(entry.id, path)
        except InputError as error:
            wrong.append(error)
    if not any(isinstance(error, ImageReplaced) for error in wrong):
        raise wrong[0]
    names = " or ".join(Path(entry.path).name for entry in wanted)
    raise InputError(
        f"{Path(path).name} is not {names}: its size, type or pixels differ. Say where that is, or add this one as a further "
        f"image: brushwork open {path} -p {project.folder}"
    )


@app.command()
def pack(
    project: Annotated[Path, typer.Argument(help="The project, NAME.brushwork.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The archive to write, NAME.zip.")],
    full: Annotated[bool, typer.Option("--full", help="Whole images, not only what lies around the strokes.")] = False,
) -> None:
    """Put a project into one file to share: strokes, settings, models, and the labelled parts of the images."""
    with opened(project) as packed:
        packed.pack(out, full=full)
    console.print(f"{out}", highlight=False, soft_wrap=True)
