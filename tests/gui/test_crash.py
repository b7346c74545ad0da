"""The window, painted in through the X server and killed: every stroke that was saved is there when it opens again."""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pytest

from brushwork.project import Project
from painting import two_tone

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("xdotool") is None,
    reason="xdotool is not here: it moves the mouse of an X server (apt-get install xdotool)",
)

KILLS = 3
SHAPE = (220, 300)
PATIENCE = 90  # seconds

# Opens the dock; notes each stroke when it was painted and, from a thread of its own, the newest that is on the disk.
APP = """
import json, sys, threading
from pathlib import Path
import napari
from qtpy.QtCore import QPoint, QTimer
from brushwork.napari.start import add_dock

project, image, notes = map(Path, sys.argv[1:])
viewer = napari.Viewer()
viewer.window._qt_window.setGeometry(0, 0, 1500, 950)
dock = add_dock(viewer, project, [str(image)])
canvas = viewer.window._qt_viewer.canvas.native
strokes = open(notes / "painted", "a", buffering=1)
saved = open(notes / "saved", "a", buffering=1)
news = threading.Event()
paint = dock.bench.project.paint

def noted(*given, **how):
    stroke = paint(*given, **how)
    strokes.write(json.dumps([stroke.id, stroke.class_id, stroke.coords.tolist()]) + "\\n")
    news.set()
    return stroke

def save():
    while True:
        news.wait()
        news.clear()
        newest = dock.bench.task.strokes[-1].id
        dock.bench.project.flush()
        saved.write(f"{newest}\\n")

dock.bench.project.paint = noted
threading.Thread(target=save, daemon=True).start()
sizes = []

def ready():
    sizes.append((canvas.width(), canvas.height()))
    if len(sizes) < 8 or len(set(sizes[-8:])) > 1:
        return
    timer.stop()
    corner = canvas.mapToGlobal(QPoint(0, 0))
    facts = {"corner": [corner.x(), corner.y()], "size": sizes[-1], "shown": int((dock.scene.strokes.layer.data[:, :] > 0).sum())}
    aside = notes / "ready.part"
    aside.write_text(json.dumps(facts))
    aside.rename(notes / "ready")

timer = QTimer()
timer.timeout.connect(ready)
timer.start(100)
napari.run()
"""


def waited(holds, child, what):
    """What `holds` returns once it is true, while the window lives."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = holds()
        if found:
            return found
        assert child.poll() is None, f"the window ended by itself ({child.returncode}) before: {what}"
        time.sleep(0.01)
    raise AssertionError(f"waited {PATIENCE} s for: {what}")


def lines(file):
    """Whole lines of a file that may be cut off."""
    return file.read_text().split("\n")[:-1] if file.exists() else []


def _are_more(file, n):
    return len(lines(file)) > n


def xdotool(*words):
    subprocess.run(["xdotool", *map(str, words)], check=True, capture_output=True, timeout=60)


def stroke_words(rng, corner, size):
    """A stroke anywhere in the middle of the canvas, as xdotool takes it."""
    x, y = (c + rng.uniform(0.3, 0.6) * s for c, s in zip(corner, size))
    words = ["mousemove", int(x), int(y), "sleep", 0.03, "mousedown", 1]
    for _ in range(rng.randint(3, 8)):
        x, y = x + rng.uniform(-15, 25), y + rng.uniform(-12, 12)
        words += ["sleep", 0.02, "mousemove", int(x), int(y)]
    return [*words, "sleep", 0.02, "mouseup", 1, "sleep", 0.05]


def pixels_of(strokes):
    """How many pixels are painted after these (class, coords), later ones on top."""
    picture = np.zeros(SHAPE, np.uint8)
    for class_id, coords in strokes:
        picture[tuple(np.array(coords).T)] = class_id
    return int((picture > 0).sum())


def test_killed_while_it_is_painted_in_the_window_opens_with_all_that_was_saved(tmp_path, open_window):
    pixels, _ = two_tone(SHAPE, contrast=80)
    image, folder, app = tmp_path / "disc.npy", tmp_path / "disc.brushwork", tmp_path / "app.py"
    np.save(image, pixels.clip(0, 255).astype(np.uint8))
    app.write_text(APP)
    rng, kept = random.Random(5), []
    for i in range(KILLS):
        notes = tmp_path / f"notes{i}"
        notes.mkdir()
        log = (notes / "log").open("w")
        child = subprocess.Popen([sys.executable, str(app), str(folder), str(image), str(notes)], stderr=log)
        try:
            waited((notes / "ready").exists, child, "the window")
            facts = json.loads((notes / "ready").read_text())
            assert facts["shown"] == pixels_of(kept), "the strokes are in the window again"
            wanted = rng.randint(2, 5)
            for j in range(wanted):
                xdotool("key", f"ctrl+{j % 2 + 1}", *stroke_words(rng, facts["corner"], facts["size"]))
                waited(partial(_are_more, notes / "painted", j), child, f"stroke {j + 1} of {wanted}")
            last = subprocess.Popen(
                ["xdotool", *map(str, stroke_words(rng, facts["corner"], facts["size"]))], stderr=subprocess.DEVNULL
            )
            time.sleep(rng.uniform(0, 0.4))  # in the middle of a stroke, as it ends, or after it
        finally:
            child.send_signal(signal.SIGKILL)
            child.wait()
            log.close()
        last.wait(60)
        xdotool("mouseup", 1)
        painted = [json.loads(line) for line in lines(notes / "painted")]
        saved = [int(line) for line in lines(notes / "saved")]
        with Project.open(folder) as project:
            strokes = project.document.task().strokes
        assert [s.id for s in strokes] == list(range(1, len(strokes) + 1))
        assert len(strokes) >= max([len(kept), *saved]), "what was saved is there"
        new = strokes[len(kept) :]
        assert len(new) <= len(painted) + 1, "nothing is there that was not painted"
        for stroke, (number, class_id, coords) in zip(new, painted):
            assert (stroke.id, stroke.class_id) == (number, class_id)
            np.testing.assert_array_equal(stroke.coords, coords)
        kept = [(s.class_id, s.coords) for s in strokes]
    assert {class_id for class_id, _ in kept} == {1, 2}
    p = open_window(folder)
    assert (np.asarray(p.dock.scene.strokes.layer.data) > 0).sum() == pixels_of(kept)
    p.keep("after-three-kills")
