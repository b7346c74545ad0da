"""Every word that the dock says, in one place."""

import shlex
from collections.abc import Iterable
from html import escape
from pathlib import Path

from brushwork.explain import Explanation
from brushwork.quality import LEAST_STROKES, Quality
from brushwork.session import Status

NO_IMAGE = "Open an image, or choose File > Open Sample > brushwork; then press Start."
NO_FIRST_IMAGE = "This project has no image yet: press Add ... and choose the first."
KEPT_IN = "What you paint is kept in {folder}."
TOO_MANY_AXES = (
    "{name} has {n} axes ({shape}); at most time, z, y and x can be worked on. Take one channel out of it (right-click the layer: "
    "Split Stack), or save it as OME-TIFF or OME-Zarr, which say what their axes are, and open that."
)
TOO_LARGE_TO_KEEP = "{name} is in no file and holds {gigabytes:.0f} GB; save it as OME-Zarr and open that."
NO_STROKES = "Paint a little of {first}; then Ctrl+2, and a little of {second}."
NOTHING_TO_LEARN = "Too little is painted to learn from, and here the project can only be looked at."
ONE_CLASS = "Now paint a little of another class (Ctrl+1, Ctrl+2, ...)."
PAUSED = "Live is off: Update once learns from what you painted."
READ_ONLY = "Read only: {who}"
SAVED = "every stroke is saved as you paint"
TOO_LARGE = "showing {share:.0%} of the view; zoom in to see the rest"
LOOKING = "Looking for the place from which most can be learnt ..."
NO_PLACE = "No further place stands out; look for mistakes by eye."
PAINT_HERE = "Paint in the middle of the view: {reason}."
FOUND = "found {n} image(s) again"
ZOOM_IN = "Zoom in to paint: from here strokes are only seen, and nothing was painted."
FLOODED = "The bucket would fill {pixels:,} pixels; close the outline first, or use the brush."
FILLED_TO_END = (
    "The bucket ran to the end of what can be painted around this view; close the outline first, or go to where it ends and "
    "begin there."
)
END_STROKE = "End the stroke here before you go on: beyond what was in view it is not painted."
BOX_IN_PLANE = "The box is drawn in y and x; turn to that view (2D) first."
NO_PLACE_BEFORE = "This is the first place that was suggested."
BESIDE = "Point at a pixel of the image first."
LINK = "#56B4E9"  # to be read on dark and on light
UNLIKE = "It is unlike anything painted: whatever is predicted here is a guess."
IN_3D = "Painting and prediction are in 2D; this 3D view shows what is known."

TIPS = {
    "live": "Learn after every stroke (K). Off: nothing changes until Update once.",
    "once": "Learn from what is painted now, and predict what is in view.",
    "view": "How the prediction is drawn (G goes on to the next). Hold ` to look at the image alone.",
    "add": "Another class. Two are enough to begin: what you look for, and everything else.",
    "class": "Click to paint with it, double-click to rename it, tick to see it in the prediction. Right-click for more.",
    "next": "The next image (T). All images teach one classifier.",
    "before": "The image before.",
    "scale": "How large the things are that tell your classes apart: texture, edges and cells, or whole regions.",
    "export": "Write the prediction of this whole image to a file.",
    "script": "Copy the commands that do the same without a window.",
    "accept": "What is predicted in view becomes strokes, which you correct by painting over them. What you painted stays.",
    "import": "Paint what another program saved (TIFF, HDF5, NIfTI, GeoJSON): first it asks which class each of its values is.",
    "limit": "Draws a box, which you can drag and resize; prediction is kept to it, in every plane and frame.",
    "preview": "What the selected feature measures in this view; choose cells of the table to look at others.",
    "tour": "Four steps, from the first stroke to a file.",
    "check": "Strokes painted now are never learnt from; they only test the model.",
    "next_place": "Jumps to the place from which it would learn most, and says why.",
    "task": "Another question to the same images, e.g. one per stain: with its own classes, strokes and models.",
    "channels": "The channels that the features are computed on; what you see is not changed by it.",
    "history": "The last states that were kept. Going back keeps the present one, too: nothing is deleted.",
    "suggest": "Tries smaller sets of features on strokes that are left out, and takes the cheapest that is as good.",
    "find": "Point to one image that was moved; the others are looked for in the same places.",
    "undo": "Take back the last stroke on this image (Ctrl+Z); it is unlearnt too.",
    "features": "Every family of filters at every size. Fewer are faster; none that is never useful is used.",
    "quality": "How often strokes that it has not learnt from are found. Strokes avoid borders: expect less of the whole image.",
}

TOUR = (
    (
        "paint",
        "The brush is ready. Draw a short stroke over the background: a few pixels will do. [ and ] change its size.",
    ),
    (
        "the other class",
        "Press Ctrl+2 and draw a stroke inside something that you look for. The prediction appears at once.",
    ),
    (
        "correct",
        "Look for a place where it is wrong and paint there, with the class that it should be. Ctrl+Z takes a stroke back.",
    ),
    (
        "go on",
        "G changes how the prediction is drawn, ` hides it while you hold the key, T goes to the next image. Export writes "
        "files. Everything is saved as you paint.",
    ),
)

WORDS = {
    "idle": "waiting for strokes",
    "features": "looking at the image",
    "training": "learning",
    "predicting": "predicting",
    "ready": "ready",
    "failed": "failed",
}


def by_name(message: str, path: str) -> str:
    """A message about a file that is seen beside it, or whose folder was just chosen: with its name only."""
    return message.replace(path, Path(path).name)


def lost(errors: Iterable[Exception]) -> str:
    """What is wrong with images that cannot be shown: of the first in full, and how many more there are."""
    first, *others = (str(error) for error in errors)
    return first + (f" ({len(others)} more cannot be shown)" if others else "")


def status_line(status: Status | None, share: float) -> str:
    """What is computed, how complete it is, and how fast it was."""
    if status is None:
        return ""
    parts = [WORDS[status.state]]
    if status.state in ("predicting", "ready"):
        parts.append(f"this view {status.fraction * share:.0%}")
    if status.seconds_to_full is not None:
        parts.append(f"{status.seconds_to_full:.2f} s")
    if share < 1:
        parts.append(TOO_LARGE.format(share=share))
    return " · ".join(parts)


def agreement(quality: Quality) -> str:
    """How good it is, with the weakest class."""
    line = f"Agreement on {quality.left_out} it has not seen: {quality.overall.words}"
    if quality.lacking:
        return f"{line}: paint at least {LEAST_STROKES} strokes of {', '.join(quality.lacking)}"
    weakest = min(range(len(quality.recall)), key=lambda i: quality.recall[i].value)
    return f"{line} · weakest: {quality.classes[weakest]} {quality.recall[weakest].value:.0%}"


def checks(quality: Quality) -> str:
    """The same on strokes for checking."""
    recalls = ", ".join(f"{name} {r.words}" for name, r in zip(quality.classes, quality.recall))
    return f"On strokes for checking: {recalls}"


def advice(names: list[str], n_painted: int) -> str:
    """What to do next while there is nothing to show; empty afterwards."""
    if n_painted == 0:
        first, second = (*names, "a second class")[:2] if names else ("the first class", "a second class")
        return NO_STROKES.format(first=first, second=second)
    return ONE_CLASS if n_painted == 1 else ""


def script(folder: Path, task: str) -> str:
    """The commands that do without a window what the window does. task : "" for the only one."""
    where, which = shlex.quote(str(folder)), f" --task {shlex.quote(task)}" if task else ""
    return f"brushwork train {where}{which}\nbrushwork predict {where} --all{which}"


def explanation(found: Explanation) -> str:
    """What speaks for a pixel's prediction, with links "0", "1", ... to the painted pixels that look most like it."""
    shares = ", ".join(f"{escape(name)} {share:.0%}" for name, share in found.probabilities)
    links = ", ".join(
        f'<a href="{i}" style="color: {LINK}">{escape(alike.class_name)}</a>' for i, alike in enumerate(found.alike)
    )
    doubt = f" {UNLIKE}" if found.is_unlike else ""
    return f"This pixel: {shares}. Most like it of what is painted: {links}.{doubt}"
