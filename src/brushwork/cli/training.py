"""brushwork train, brushwork suggest-features."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from brushwork.cli import options as o
from brushwork.cli.console import before_computing, console, errors
from brushwork.cli.main import app
from brushwork.cli.projects import is_project, train_project
from brushwork.errors import InputError

LabelFiles = Annotated[
    list[str], typer.Option("--labels", help="Label images, one per image in the same order; 0 is unpainted.")
]


@app.command()
def train(
    images: Annotated[
        list[str], typer.Argument(help="Images; then --labels with as many label images. Or one project.")
    ],
    labels: LabelFiles = [],  # noqa: B006  never changed; a project brings its own
    classes: Annotated[str, typer.Option("--classes", help="Names of classes 1, 2, ... with commas between.")] = "",
    out: Annotated[Path | None, typer.Option("-o", "--out", help="The model file to write, NAME.bwm.")] = None,
    task: Annotated[str, typer.Option("--task", help="Of a project with several tasks.")] = "",
    features: o.Features = "all",
    channels: o.Channels = None,
    estimator: o.EstimatorName = "symmetric-forest",
    balanced: Annotated[
        bool, typer.Option("--balanced", help="Every class counts the same, however much of it is painted.")
    ] = False,
    priors: Annotated[
        str,
        typer.Option(
            "--priors", help="How common classes are: image (half-way to their shares around the strokes) or strokes."
        ),
    ] = "image",
    colors: Annotated[str | None, typer.Option("--colors", help="One #rrggbb per class.")] = None,
    seed: o.Seed = 0,
    axes: o.Axes = None,
    level: o.Level = None,
    pixel_size: o.PixelSize = None,
    threads: o.Threads = None,
    overwrite: o.Overwrite = False,
) -> None:
    """Learn from painted images, or from a project; writes a model file and reports how good it is on strokes left out."""
    from brushwork import accuracy as acc
    from brushwork.cli.tables import learnt
    from brushwork.estimators import estimator as recipe_named
    from brushwork.training import fit

    if is_project(images[0]) and len(images) == 1:
        given = {"--labels": labels, "--classes": classes, "--features": features != "all", "--channels": channels}
        given |= {"--estimator": estimator != "symmetric-forest", "--balanced": balanced, "--priors": priors != "image"}
        given |= {"--colors": colors, "--seed": seed, "--axes": axes, "--level": level, "--pixel-size": pixel_size}
        _refuse_settings([name for name, value in given.items() if value])
        _refuse_output(out, overwrite)
        before_computing()
        train_project(images[0], out, task, threads)
        return
    if out is None or not labels or not classes:
        raise InputError(
            "training on images needs --labels, --classes and -o MODEL.bwm; a project (NAME.brushwork) needs none"
        )
    _refuse_output(out, overwrite)
    before_computing()
    recipe = recipe_named(estimator, **({"balanced": True} if balanced else {}))
    if estimator.startswith("sklearn:"):
        from brushwork.estimators.sklearn import check_can_be_saved

        check_can_be_saved(estimator.removeprefix("sklearn:"))
    prepared = _prepared(images, labels, classes, features, channels, priors, axes, level, pixel_size, threads)
    began = time.perf_counter()
    model = fit(prepared, recipe, seed=seed, colors=o.comma_list(colors) if colors else None)
    model.estimator.arrays()  # what cannot be saved says so now, not after the accuracy
    model = model.with_provenance(estimator=estimator, balanced=balanced)
    seconds = time.perf_counter() - began
    measured = acc.held_out(prepared, recipe, seed=seed, class_weights=model.class_weights)
    model = acc.with_accuracy(model, measured)
    model.save(out)
    n = len(prepared.table.y)
    console.print(f"{n:,} painted pixels, {prepared.features.n_maps} feature maps, trained in {seconds:.2f} s")
    console.print(learnt(model))
    console.print(f"model: {out}", highlight=False)


def _refuse_output(out: Path | None, overwrite: bool) -> None:
    """A model that could not be written is refused before anything is computed."""
    if out is None:
        return
    if out.suffix != ".bwm":
        raise InputError(f"a model file ends with .bwm; {out} was given")
    if out.exists() and not overwrite:
        raise InputError(f"{out} exists; give --overwrite to replace it")
    if not out.absolute().parent.is_dir():
        raise InputError(f"the folder {out.absolute().parent} does not exist; make it first")


def _refuse_settings(given: list[str]) -> None:
    if given:
        raise InputError(f"a project brings its own strokes and settings; leave {', '.join(given)} out")


def _prepared(
    images: Sequence[str],
    labels: Sequence[str],
    classes: str,
    features: str,
    channels: str | None,
    priors: str,
    axes: str | None,
    level: str | None,
    pixel_size: str | None,
    threads: int | None,
) -> Any:
    from brushwork.io import open_image, open_labels
    from brushwork.training import prepare

    images, labels = o.expanded(list(images)), o.expanded(list(labels))
    if len(images) != len(labels):
        some = ", ".join(Path(i).name for i in images[:4])
        raise InputError(
            f"{len(images)} image(s) ({some}) but {len(labels)} label image(s) were given; every image needs its own, in the same "
            "order. Images come first, and --classes takes no blanks: background,nucleus"
        )
    chosen = o.feature_set(features)
    examples = []
    for image_file, label_file in zip(images, labels):
        image = open_image(image_file, axes=axes, level=o.level_of(level), pixel_size=o.pixel_size_of(pixel_size))
        examples.append((image, open_labels(label_file, image)))
    prepared = prepare(
        examples,
        chosen,
        classes=o.comma_list(classes),
        channels=o.channel_list(channels),
        priors=priors,
        threads=threads,
    )
    for note in prepared.notes:
        errors.print(note, style="dim", highlight=False)
    return prepared


@app.command("suggest-features")
def suggest_features(
    images: Annotated[list[str], typer.Argument(help="Images; then --labels with as many label images.")],
    labels: LabelFiles,
    classes: o.Classes,
    features: o.Features = "all",
    channels: o.Channels = None,
    estimator: o.EstimatorName = "symmetric-forest",
    seed: o.Seed = 0,
    axes: o.Axes = None,
    level: o.Level = None,
    pixel_size: o.PixelSize = None,
    threads: o.Threads = None,
) -> None:
    """Find a smaller feature set: accuracy on held-out strokes against time."""
    from brushwork.cli.tables import suggestion_table
    from brushwork.features import selection
    from brushwork.suggest import best_small
    from brushwork.suggest import suggest_features as suggest

    before_computing()
    prepared = _prepared(images, labels, classes, features, channels, "strokes", axes, level, pixel_size, threads)
    suggestions = suggest(prepared, estimator, seed=seed)
    best = best_small(suggestions)
    console.print(suggestion_table(suggestions, best))
    console.print("The cheapest set within 0.01 of the best accuracy:")
    console.print(
        f"  --features '{selection(best.features, len(prepared.image.channel_names))}'", highlight=False, soft_wrap=True
    )
