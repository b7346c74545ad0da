"""brushwork info, features, doctor, report."""

from pathlib import Path
from typing import Annotated, Any

import typer

from brushwork.cli import options as o
from brushwork.cli.console import before_computing, console, human_bytes
from brushwork.cli.main import app
from brushwork.errors import InputError


@app.command()
def info(
    what: Annotated[list[str], typer.Argument(help="Models, projects (ilastik's too), images, or folders of them.")],
    axes: o.Axes = None,
    level: o.Level = None,
) -> None:
    """Say what something is: a model, an image, or what a folder holds."""
    from brushwork.cli.ilp import info_ilp, is_ilp
    from brushwork.cli.projects import info_project, is_project
    from brushwork.io import is_image_folder
    from brushwork.jobs import RECORD

    for name in o.expanded(what):
        path = Path(name)
        if path.suffix == ".bwm":
            _info_model(path)
        elif is_ilp(path):
            info_ilp(path)
        elif is_project(path) and path.is_dir():
            info_project(path)
        elif (path / RECORD).is_file():
            _info_results(path)
        elif path.is_dir() and not is_image_folder(path):
            _info_folder(path)
        else:
            _info_image(name, axes, level)


def _info_image(name: str, axes: str | None, level: str | None) -> None:
    from brushwork.cli.tables import facts
    from brushwork.io import image_levels, open_image

    image = open_image(name, axes=axes, level=o.level_of(level))
    levels = image_levels(name)
    rows = _image_facts(image)
    if len(levels) > 1:
        rows += [(f"level {i}", f"{level_name}: {tuple(shape)}") for i, (level_name, shape, _) in enumerate(levels)]
    console.print(facts(name, rows))


def _image_facts(image: Any) -> list[tuple[str, Any]]:
    import math

    spatial = "".join(a for a in "zyx" if a in image.axes)
    sizes = ", ".join(f"{a} {n:,}" for a, n in zip(spatial, image.shape))
    n = math.prod(image.shape) * image.n_frames * len(image.channel_names)
    size = ", ".join(f"{a} {s:g}" for a, s in zip(spatial, image.pixel_size)) + " um" if image.pixel_size else "unknown"
    rows = [
        ("shape", f"{sizes}  ({human_bytes(n * image.dtype.itemsize)})"),
        ("axes as stored", image.axes),
        ("type", image.dtype),
    ]
    if image.n_frames > 1:
        rows.append(("frames", image.n_frames))
    return [*rows, ("pixel size", size), (f"{len(image.channel_names)} channel(s)", ", ".join(image.channel_names))]


def _info_model(path: Path) -> None:
    from brushwork.classifier import Classifier
    from brushwork.cli.tables import facts, learnt
    from brushwork.features import selection

    model = Classifier.load(path)
    made = model.provenance
    classes = ", ".join(f"{name} ({color})" for name, color in zip(model.classes, model.colors))
    rows = [
        ("classes", classes),
        ("trained on", ", ".join(made.get("images", []))),
        ("channels", ", ".join(model.channel_names)),
        ("pixel size", f"{model.pixel_size} um" if model.pixel_size else "unknown"),
        ("dimensions", f"{model.ndim}D, axes {model.axes}"),
        ("features", f"{model.features.n_maps} maps: {selection(model.features, len(model.channel_names))}"),
        ("estimator", made.get("estimator", model.estimator.kind)),
        ("made with", f"{made.get('software')}, seed {made.get('seed')}"),
    ]
    console.print(facts(str(path), rows))
    console.print(learnt(model))


def _info_results(folder: Path) -> None:
    from brushwork.cli.tables import facts
    from brushwork.io.run_folder import unfinished
    from brushwork.jobs import read_record

    record = read_record(folder)
    rows: list[tuple[str, Any]] = [("model", record["model"]), ("output", record["settings"]["output"])]
    rows += [(e["output"], f"{e['image']}  ({e['seconds']} s)") for e in record["images"]]
    rows += [("unfinished", out.name) for p in sorted(folder.iterdir()) if (out := unfinished(p)) is not None]
    console.print(facts(str(folder), rows))


def _info_folder(folder: Path) -> None:
    from brushwork.cli.tables import facts
    from brushwork.io.run_folder import unfinished

    rows = []
    for path in sorted(folder.iterdir()):
        out = unfinished(path)
        rows.append((path.name, _kind_of(path)) if out is None else (out.name, "unfinished; predict again to go on"))
    console.print(facts(str(folder), rows or [("", "empty")]))


def _kind_of(path: Path) -> str:
    """What a file or folder is, in a few words."""
    from brushwork.io import is_image_folder, open_image, readers

    if path.suffix == ".bwm":
        return "model"
    if path.is_dir() and not is_image_folder(path) and path.suffix.lower() not in readers():
        n = sum(p.suffix.lower() in readers() and not p.name.startswith(".") for p in path.iterdir())
        return f"folder of {n} image file{'s' * (n != 1)}" if n else "folder without images"
    try:
        image = open_image(path)
    except InputError as error:
        return f"not readable: {str(error).splitlines()[0]}"
    return f"{image.axes} {image.shape} {image.dtype}"


@app.command()
def features(
    selection: Annotated[
        str | None, typer.Argument(help="A selection to explain, e.g. 'hessian:1.6'; all families without.")
    ] = None,
) -> None:
    """List the feature families: what each responds to, its cost and halo; and how to write a selection."""
    import numpy as np

    from brushwork.cli.tables import table
    from brushwork.features import FAMILIES, GRAMMAR, PRESETS, SIGMAS, FeatureSet
    from brushwork.image import as_image
    from brushwork.scalespace import load_plugins
    from brushwork.suggest import cost_of

    load_plugins()
    before_computing()
    image = as_image(np.random.default_rng(0).random((512, 512), np.float32))
    if selection is not None:
        chosen = o.feature_set(selection).resolved(image)
        made = table(
            "map", "halo", title=f"{chosen.n_maps} maps on one channel in 2D, {cost_of(chosen, image):.0f} ns per pixel"
        )
        for f in chosen.features:
            made.add_row(f.label(), f"{max(FeatureSet((f,)).halo(image))} px")
        console.print(made)
        return
    made = table(
        "family",
        "maps 2D / 3D",
        "halo",
        "ns per pixel",
        "responds to",
        title="Families (halo and cost at sigma 1.6 in 2D)",
    )
    for name, family in FAMILIES.items():
        one = FeatureSet.parse(f"{name}:1.6").resolved(image)
        cost = f"{cost_of(one, image):.1f}"
        made.add_row(name, f"{family.maps(2)} / {family.maps(3)}", f"{max(one.halo(image))} px", cost, family.help)
    console.print(made)
    halos = ", ".join(f"{s:g}: {max(FeatureSet.parse(f'hessian:{s}').resolved(image).halo(image))}" for s in SIGMAS)
    console.print(f"Halo in pixels by sigma: {halos}. Families of one sigma share its smoothing.\n")
    console.print(GRAMMAR + "\n", markup=False, highlight=False)
    for name, text in PRESETS.items():
        console.print(f"preset {name}: {text}", highlight=False, markup=False)


@app.command()
def doctor() -> None:
    """Check this installation: threads, memory, compiled kernels, optional parts, and what would bring what is missing."""
    from brushwork.cli.diagnosis import diagnose
    from brushwork.cli.tables import facts

    before_computing()
    for title, rows in diagnose().items():
        console.print(facts(title, rows))


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="A folder that brushwork predict or brushwork segment has written.")],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="The page to write; FOLDER/report.html, or objects.html, by default."),
    ] = None,
    density: Annotated[
        str | None,
        typer.Option("--density", help="Edge of the blocks in which the density of objects is counted: 100 or 50um."),
    ] = None,
) -> None:
    """Write one HTML page: about predictions with their accuracy and areas, about objects where they lie and how they are."""
    from brushwork.jobs import RECORD as PREDICTIONS
    from brushwork.segmenting import RECORD as OBJECTS
    from brushwork.segmenting import read_record

    has_objects = (folder / OBJECTS).is_file()
    has_predictions = (folder / PREDICTIONS).is_file()
    if has_objects and has_predictions and out is not None:
        raise InputError(f"{folder} holds predictions and objects, which have a page each; leave out --out")
    if density is not None and not has_objects:
        raise InputError(f"{folder} holds no objects of brushwork segment, so there is no density; leave out --density")
    if has_predictions or not has_objects:
        from brushwork.report import write_report

        console.print(f"report: {write_report(folder, out)}", highlight=False, soft_wrap=True)
    if has_objects:
        from brushwork.objects_report import write_objects_report

        pixel_size = read_record(folder)["probabilities"]["pixel_size"]
        edge, spacing = o.length_of(density, tuple(pixel_size) if pixel_size else None) if density else (None, None)
        for file in write_objects_report(folder, out, edge=edge, spacing=spacing):
            console.print(f"report: {file}", highlight=False, soft_wrap=True)
