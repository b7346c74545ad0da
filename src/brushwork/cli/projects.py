"""Projects on the command line: brushwork open and pack, and what train, predict and info do with one."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from brushwork.cli import options as o
from brushwork.cli.console import console, errors
from brushwork.cli.main import app
from brushwork.errors import InputError, MissingPart

if TYPE_CHECKING:
    from brushwork.classifier import Classifier
    from brushwork.image import Image
    from brushwork.project import Project

SUFFIX = ".brushwork"


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
    with opened(path) as project:
        return project.fit(task, threads=threads)


def images_of(path: str | Path) -> dict[str, "Image"]:
    """Every image of a project by its path; raises InputError where one is not found."""
    with opened(path) as project:
        images = [project.image(entry.id) for entry in project.document.images]
    if not images:
        raise InputError(f"{path} holds no images yet; add some with: brushwork open IMAGE ... -p {path}")
    return {image.uri: image for image in images}


def info_project(path: Path) -> None:
    """What a project holds."""
    from brushwork.cli.tables import facts

    with opened(path) as project:
        document = project.document
        rows: list[tuple[str, Any]] = [
            (f"image {i + 1}", f"{e.path}  {e.axes} {e.shape} {e.dtype}") for i, e in enumerate(document.images)
        ]
        for task in document.tasks:
            strokes = [s for s in task.strokes if not s.undone]
            rows += [
                (f"task {task.name}", f"{len(strokes)} strokes, features {task.features}, estimator {task.estimator}"),
                ("  classes", ", ".join(f"{c.name} ({c.color})" for c in task.classes)),
            ]
            rows += [("  model", f"{m.file}  accuracy {m.accuracy}") for m in task.models[-1:]]
    console.print(facts(str(path), rows))


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
    try:
        from brushwork.napari.start import project_beside, run
    except ImportError as error:
        raise MissingPart(f"painting in a window ({error.name})", "napari") from None
    folder, images = _settled(what, project)
    how = {"axes": axes, "level": o.level_of(level), "pixel_size": o.pixel_size_of(pixel_size)}
    run(folder or project_beside(images[0]), images, **how)


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
def pack(
    project: Annotated[Path, typer.Argument(help="The project, NAME.brushwork.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The archive to write, NAME.zip.")],
    full: Annotated[bool, typer.Option("--full", help="Whole images, not only what lies around the strokes.")] = False,
) -> None:
    """Put a project into one file to share: strokes, settings, models, and the labelled parts of the images."""
    with opened(project) as packed:
        packed.pack(out, full=full)
    console.print(f"{out}", highlight=False, soft_wrap=True)
