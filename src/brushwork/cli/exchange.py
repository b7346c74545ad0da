"""brushwork labels, import, export: labels from and for other programs, and ilastik's whole projects."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from brushwork.cli import options as o
from brushwork.cli.console import before_computing, console, errors
from brushwork.cli.ilp import Dialect, dialect_of, is_ilp
from brushwork.cli.main import app
from brushwork.cli.projects import image_named, opened
from brushwork.errors import InputError
from brushwork.project_suffix import SUFFIX as PROJECT_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from brushwork.exchange import LabelValue
    from brushwork.project import Project

ImageName = Annotated[str | None, typer.Option("--image", help="Which image of the project; the only one by default.")]
TaskName = Annotated[str, typer.Option("--task", help="Of a project with several tasks.")]
Names = Annotated[
    Path | None, typer.Option("--names", help="Label descriptions that ITK-SNAP saved: they name the values.")
]


@app.command("labels")
def labels(
    file: Annotated[str, typer.Argument(help="A label image, or annotations (.geojson).")],
    image: Annotated[
        str | None, typer.Option("--image", help="The image they are of; annotations are counted inside it.")
    ] = None,
    names: Names = None,
) -> None:
    """Show which values or classes a file of labels holds, before they are imported."""
    from brushwork.exchange import label_file
    from brushwork.io import open_image

    found = label_file(file, image=open_image(image) if image is not None else None, names=names)
    _show(found.path, ((value, "") for value in found.values))
    _tell(found.notes)


@app.command("import")
def import_(
    file: Annotated[
        str,
        typer.Argument(
            help="A label image (.tif, .h5, .nii.gz, ...), annotations (.geojson), or an ilastik project (.ilp)."
        ),
    ],
    into: Annotated[Path | None, typer.Option("--into", help="The project to paint into, NAME.brushwork.")] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Of an ilastik project: the project to make, NAME.brushwork.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="Of an ilastik project: where its images are, if they were moved.")
    ] = None,
    image: ImageName = None,
    mapping: Annotated[
        str | None,
        typer.Option("--map", help="Which class each value or name is: 1=cell,2=background; 3=0 leaves 3 out."),
    ] = None,
    names: Names = None,
    offset: Annotated[
        str | None, typer.Option("--offset", help="Of labels of a part of the image: its first pixel, (z,)y,x.")
    ] = None,
    new_classes: Annotated[bool, typer.Option("--new-classes", help="Make classes that the project lacks.")] = False,
    task: TaskName = "",
    dialect: Dialect = None,
) -> None:
    """Paint labels of another program into a project, as strokes that can be undone; or take over an ilastik project."""
    from brushwork.exchange import import_labels

    if is_ilp(file):
        if into is not None:
            raise InputError(f"{file} becomes a project of its own; give -o NAME{PROJECT_SUFFIX} instead of --into")
        _refuse(
            {"--map": mapping, "--image": image, "--names": names, "--offset": offset}
            | {"--new-classes": new_classes, "--task": task},
            "an ilastik project, which is taken over whole",
        )
        return _import_ilp(Path(file), out, data, dialect_of(dialect))
    _refuse({"--out": out, "--data": data, "--dialect": dialect}, "labels, only for an ilastik project (.ilp)")
    if into is None:
        raise InputError("into which project? give --into NAME.brushwork")
    meanings = mapping_of(mapping) if mapping is not None else None
    with opened(into) as project:
        done = import_labels(
            project,
            file,
            image=_image(project, image),
            task=task,
            mapping=meanings,
            names=names,
            offset=_numbers(offset) if offset is not None else None,
            new_classes=new_classes,
        )
    _show(file, ((value, name or "left out") for value, name in done.classes))
    _tell(done.notes)
    _say(f"{done.strokes:,} strokes, {done.pixels:,} pixels painted in {into}")


@app.command("export")
def export(
    project: Annotated[Path, typer.Argument(help="The project, NAME.brushwork.")],
    out: Annotated[
        Path,
        typer.Option("-o", "--out", help="The file to write: .geojson, .nii.gz, .tif, .h5 or another image; or .ilp."),
    ],
    image: ImageName = None,
    task: TaskName = "",
    embed: Annotated[bool, typer.Option("--embed", help="For ilastik: put painted images into the project.")] = False,
    absolute: Annotated[bool, typer.Option("--absolute", help="For ilastik: link images by their full paths.")] = False,
    threads: o.Threads = None,
    overwrite: o.Overwrite = False,
) -> None:
    """Write what is painted on an image for QuPath, ITK-SNAP, napari or Fiji; or the whole project for ilastik (.ilp)."""
    from brushwork.exchange import export_labels

    if is_ilp(out):
        _refuse({"--image": image}, "an ilastik project, which gets all images")
        return _export_ilp(project, out, task, _links(embed, absolute), threads, overwrite)
    _refuse({"--embed": embed, "--absolute": absolute}, "labels, only for an ilastik project (.ilp)")
    with opened(project) as there:
        written = export_labels(there, out, image=_image(there, image), task=task, overwrite=overwrite)
    _show(written.path, ((value, "") for value in written.values))


def _refuse(flags: "Mapping[str, object]", what: str) -> None:
    """Raises InputError where one of `flags` was given, which has no meaning for `what`."""
    given = [flag for flag, value in flags.items() if value not in (None, False, "")]
    if given:
        raise InputError(f"{' and '.join(given)} cannot be used for {what}; leave it out")


def _import_ilp(file: Path, out: Path | None, data: Path | None, dialect: str | None) -> None:
    from brushwork.interchange.ilp_import import import_ilp

    before_computing()
    done = import_ilp(file, out or file.with_suffix(PROJECT_SUFFIX), data=data, dialect=dialect)
    _tell(done.notes)
    forests = f", and the forest of {', '.join(done.models)}" if done.models else ""
    counts = f"{done.n_images} of {done.n_lanes} images, {done.n_strokes:,} strokes, {done.n_pixels:,} pixels"
    _say(f"{done.folder}: {counts}{forests}")


def _export_ilp(project: Path, out: Path, task: str, links: str, threads: int | None, overwrite: bool) -> None:
    from brushwork.interchange.ilp_export import export_ilp

    before_computing()
    with opened(project) as there:
        done = export_ilp(there, out, task=task, links=links, threads=threads, overwrite=overwrite)
    _tell(done.notes)
    forest = f"a forest of {done.n_trees} trees" if done.n_trees else "no forest"
    _say(f"{done.path}: {done.n_images} images, {done.n_pixels:,} painted pixels, {forest}")


def _links(embed: bool, absolute: bool) -> str:
    if embed and absolute:
        raise InputError(
            "--embed and --absolute were given; an image is either in the project or linked, leave one out"
        )
    return "embedded" if embed else "absolute" if absolute else "relative"


def mapping_of(text: str) -> dict[int | str, str | None]:
    """ "1=cell, 2=0, Tumor=cell" -> {1: "cell", 2: None, "Tumor": "cell"}."""
    found: dict[int | str, str | None] = {}
    for part in o.comma_list(text):
        value, equals, name = (side.strip() for side in part.partition("="))
        if not (value and equals and name):
            raise InputError(f"{part!r} in {text!r} does not say VALUE=CLASS; give e.g. --map 1=cell,2=background,3=0")
        key = int(value) if value.isdigit() else value
        if key in found:
            raise InputError(f"{text!r} names {value} twice; give each value one class")
        found[key] = None if name == "0" else name
    return found


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in o.comma_list(text)]
    except ValueError:
        raise InputError(
            f"offset {text!r} is not a list of whole numbers; give pixels as (z,)y,x, e.g. 100,250"
        ) from None


def _image(project: "Project", name: str | None) -> str:
    """The id of the image of that name, or of the only one."""
    entries = project.document.images
    if name is not None:
        return image_named(project, name).id
    if len(entries) != 1:
        listed = ", ".join(entry.path for entry in entries)
        raise InputError(
            f"the project holds {len(entries)} images ({listed}); say which with --image"
            if entries
            else f"{project.folder} holds no images yet; add some with: brushwork open IMAGE ... -p {project.folder}"
        )
    return entries[0].id


def _show(file: str, rows: "Iterable[tuple[LabelValue, str]]") -> None:
    """A table of values: their numbers, names and classes where there are any. file : of labels."""
    from rich.text import Text

    from brushwork.cli.tables import table
    from brushwork.exchange import is_annotations

    shown = list(rows)
    has_numbers, has_names = not is_annotations(file), any(value.name for value, _ in shown)
    columns: dict[str, list[str | Text]] = {
        "value": [str(value.value) for value, _ in shown if has_numbers],
        "name": [Text(value.name) for value, _ in shown if has_names],
        "pixels": [f"{value.pixels:,}" for value, _ in shown],
        "class": [Text(name) for _, name in shown if name],
    }
    there = {heading: cells for heading, cells in columns.items() if cells}
    made = table(*there)
    for row in zip(*there.values()):
        made.add_row(*row)
    _say(file)
    console.print(made)


def _say(text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _tell(notes: "Iterable[str]") -> None:
    for note in notes:
        errors.print(note, style="dim", highlight=False, markup=False, soft_wrap=True)
