"""Every word that the dock says, in one place."""

from brushwork.quality import LEAST_STROKES, Quality
from brushwork.session import Status

NO_IMAGE = "Open an image, or choose File > Open Sample > brushwork; then press Start."
NO_STROKES = "Paint a little of {first}; then Ctrl+2, and a little of {second}."
ONE_CLASS = "Now paint a little of another class (Ctrl+1, Ctrl+2, ...)."
PAUSED = "Live is off: Update once learns from what you painted."
READ_ONLY = "Read only: {who}"
SAVED = "every stroke is saved as you paint"
TOO_LARGE = "showing {share:.0%} of the view; zoom in to see the rest"
LOOKING = "Looking for the place from which most can be learnt ..."
NO_PLACE = "No further place stands out; look for mistakes by eye."
PAINT_HERE = "Paint in the middle of the view: {reason}."
FOUND = "found {n} image(s) again"
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
    "import": "Paint what a label image holds: its values become classes, wherever in the image it lies.",
    "limit": "Predict only what is in view now; paint and look elsewhere without waiting for it.",
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
