"""Small tables for the terminal."""

import math
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from brushwork.accuracy import UNTESTED, Accuracy, accuracy_of
from brushwork.classifier import Classifier
from brushwork.suggest import Suggestion

TOP = 5  # features shown
SHARES = "shares around the strokes"


TEXT = ("taken for", "responds to", "name", "class", "")  # columns of words; the others after the first are numbers


def table(*columns: str, title: str | None = None) -> Table:
    """A table whose columns of numbers are aligned right."""
    made = Table(title=title, title_justify="left", title_style="", box=box.SIMPLE_HEAD, pad_edge=False)
    for i, name in enumerate(columns):
        is_text = i == 0 or name in TEXT
        made.add_column(name, justify="left" if is_text else "right", no_wrap=not is_text, overflow="fold")
    return made


def percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.1f} %"


def accuracy_table(accuracy: Accuracy, model: Classifier) -> Table:
    """Per class: what is painted, recall on held-out strokes, and what it is taken for."""
    made = table(
        "class", "pixels", "strokes", "found", "taken for", title="Accuracy on strokes that were left out of training"
    )
    confused: dict[str, str] = {}
    for painted, instead, share in accuracy.confused():
        confused.setdefault(painted, f"{instead} {percent(share)}")
    for name, recall in zip(accuracy.classes, accuracy.recall):
        pixels, strokes = model.provenance["pixels"][name], model.provenance["strokes"][name]
        note = confused.get(name, "") if not math.isnan(recall) else UNTESTED
        made.add_row(Text(name), f"{pixels:,}", str(strokes), percent(recall), Text(note))
    made.add_section()
    tail = (
        f"confidence is off by {percent(accuracy.calibration_error)}"
        if not math.isnan(accuracy.calibration_error)
        else ""
    )
    made.add_row("balanced accuracy", "", "", percent(accuracy.balanced), tail)
    return made


def prior_line(model: Classifier) -> str:
    """How common classes are taken to be."""
    around = model.provenance[SHARES]
    shares = ", ".join(f"{name} {percent(around[name])}" for name in model.classes)
    return f"around the strokes: {shares}; probabilities lean half-way to that (--priors strokes: not at all)"


def feature_weights(model: Classifier) -> Table:
    made = table("features that carried most weight", "share")
    for name, share in list(model.importances().items())[:TOP]:
        made.add_row(Text(name), percent(share))
    return made


def suggestion_table(suggestions: list[Suggestion], best: Suggestion) -> Table:
    made = table("features", "maps", "held-out accuracy", "ns per pixel", "")
    for s in suggestions:
        mark = "<- suggested" if s is best else ""
        made.add_row(str(len(s.features.features)), str(s.features.n_maps), percent(s.accuracy), f"{s.cost:.0f}", mark)
    return made


def learnt(model: Classifier) -> Group:
    """What a model learnt: its accuracy where it was measured, how common classes are, the features that carried weight."""
    measured = accuracy_of(model)
    parts: list[RenderableType] = [accuracy_table(measured, model)] if measured is not None else []
    parts += [Text(prior_line(model))] if model.class_weights and SHARES in model.provenance else []
    return Group(*parts, feature_weights(model))


def facts(title: str, rows: list[tuple[str, Any]]) -> Group:
    """Name and value, line by line, under a title."""
    made = Table(box=None, show_header=False, pad_edge=False)
    made.add_column(style="dim")
    made.add_column(overflow="fold")
    for name, value in rows:
        made.add_row(name, Text(str(value)))
    return Group(Text(title, style="bold"), made)
