"""What the commands need of ilastik's projects (.ilp): what is in one, and its classifier."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from brushwork.cli.console import console, errors
from brushwork.errors import InputError, unknown

if TYPE_CHECKING:
    from brushwork.classifier import Classifier
    from brushwork.interchange.ilp import IlpDataset, IlpProject, IlpStage

SUFFIX = ".ilp"
DIALECTS = {"ilastik>=1.3": "", "ilastik<1.3": "ilastik<1.3"}  # as the library calls them
Dialect = Annotated[
    str | None,
    typer.Option(
        "--dialect",
        help="Of an ilastik project: ilastik<1.3 or ilastik>=1.3, how its structure tensor was computed, where that is mistaken.",
    ),
]


def is_ilp(path: str | Path) -> bool:
    return Path(path).suffix.lower() == SUFFIX


def dialect_of(text: str | None) -> str | None:
    if text is not None and text not in DIALECTS:
        raise unknown("dialect", text, DIALECTS)
    return None if text is None else DIALECTS[text]


def model_of_ilp(path: Path, *, dialect: str | None = None) -> "Classifier":
    """The classifier that ilastik trained. Images that are found tell how an old project computed its structure tensor."""
    from brushwork.interchange.ilp import open_ilp
    from brushwork.interchange.ilp_models import classifier_of, examples_of

    project = open_ilp(path)
    images = [_image_of(project, lane.raw) for lane in project.lanes]
    examples = examples_of(project, images) if project.stages else ()
    model = classifier_of(project, dialect=dialect_of(dialect), examples=examples)
    for problem in project.problems:
        errors.print(problem, style="dim", highlight=False, markup=False, soft_wrap=True)
    return model


def _image_of(project: "IlpProject", data: "IlpDataset | None") -> Any:
    """An input as an image, None where it is not at hand: it is not needed to predict others."""
    from brushwork.interchange.ilp_images import open_dataset

    if data is None:
        return None
    try:
        return open_dataset(project, data)
    except InputError:
        return None


def info_ilp(path: Path) -> None:
    """Lanes and where their data is, classes, labels, features, forest, version; what cannot be used, and why."""
    from brushwork.cli.tables import facts
    from brushwork.interchange.ilp import open_ilp

    project = open_ilp(path)
    rows: list[tuple[str, Any]] = [("ilastik", f"{project.version}, {project.workflow}")]
    for i, lane in enumerate(project.lanes):
        for role, data in (("image", lane.raw), ("mask", lane.mask)):
            if data is not None:
                rows.append((f"{role} {i + 1}", _place(project, data)))
    for i, stage in enumerate(project.stages):
        rows += _stage_facts(stage, f"stage {i + 1} " if len(project.stages) > 1 else "")
    rows += [("cannot be used", problem) for problem in project.problems]
    console.print(facts(str(path), rows))


def _place(project: "IlpProject", data: "IlpDataset") -> str:
    """Where an input is, and whether what is there is what was painted on."""
    from brushwork.interchange.ilp_images import doubt, locate, open_dataset

    size = f"{data.axes} {data.shape}" if data.shape is not None else data.axes
    name = data.nickname or " ".join(Path(p).name for p in data.paths)
    found = locate(project, data)
    if found is None:
        return f"{name}  {size}  not found: {' '.join(data.paths)}"
    where = {"as stored": "found", "moved": f"found at {' '.join(found.uris)}", "url": f"at {' '.join(found.uris)}"}
    told = [where.get(found.how, found.how)]
    try:
        if found.how != "url":
            image = open_dataset(project, data)
            told.append(doubt(data, image.uri))
            size = size if data.shape is not None else f"{image.axes} {image.shape}"
    except InputError as error:
        return f"{name}  {size}  cannot be used: {error}"
    return f"{name}  {size}  {'; '.join(filter(None, told))}"


def _stage_facts(stage: "IlpStage", which: str) -> list[tuple[str, Any]]:
    from brushwork.interchange.ilp import FEATURE_IDS

    counts = ", ".join(f"{c.name} ({c.color}) {n:,} px" for c, n in zip(stage.classes, stage.counts))
    rows: list[tuple[str, Any]] = [(f"{which}classes", counts or "none")]
    chosen = stage.features
    if chosen is None:
        rows.append((f"{which}features", "none"))
    else:
        for filter_id, row in zip(chosen.ids, chosen.chosen):
            in_2d = chosen.in_2d or (False,) * len(row)
            scales = [f"{s:g}{'/2d' if flat else ''}" for s, is_in, flat in zip(chosen.scales, row, in_2d) if is_in]
            if scales:
                rows.append((which + FEATURE_IDS[filter_id], "sigma " + ", ".join(scales)))
    trained = stage.classifier
    if trained.forest is not None:
        forest = f"{trained.kind}, {len(trained.forest.roots)} trees, {trained.forest.n_maps} maps"
    else:
        forest = trained.problem or "not trained; import the project and train on its labels"
    return [*rows, (f"{which}classifier", forest)]
