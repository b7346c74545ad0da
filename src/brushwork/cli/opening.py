"""brushwork open, brushwork pack."""

from pathlib import Path
from typing import Annotated

import typer

from brushwork.cli import options as o
from brushwork.cli.console import console
from brushwork.cli.main import app
from brushwork.errors import InputError, MissingPart

SUFFIX = ".brushwork"


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
    projects = [w for w in what if w.rstrip("/").endswith(SUFFIX)]
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
    from brushwork.project import Project

    opened = Project.open(project, failed=_raise)
    try:
        opened.pack(out, full=full)
    finally:
        opened.close()
    console.print(f"{out}", highlight=False, soft_wrap=True)


def _raise(error: Exception) -> None:
    raise error
