"""The picture in docs/painting.md: python scripts/screenshot.py docs/dock.png, on a display (scripts/with-display.sh)."""

import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("NAPARI_CONFIG", str(Path(tempfile.mkdtemp()) / "settings.yaml"))

import napari
import numpy as np
from PIL import Image
from qtpy.QtTest import QTest
from scipy.ndimage import label

from brushwork.napari.samples import nuclei
from brushwork.napari.start import add_dock

SIZE = (1400, 900)
WIDTH = 1120  # pixels, as it is kept


def main(out: str) -> None:
    folder = Path(tempfile.mkdtemp())
    pixels = nuclei()[0][0]
    np.save(folder / "nuclei.npy", pixels)
    viewer = napari.Viewer(show=True)
    viewer.window._qt_window.setGeometry(0, 0, *SIZE)
    QTest.qWait(500)
    dock = add_dock(viewer, folder / "nuclei.brushwork", [str(folder / "nuclei.npy")])
    QTest.qWait(1000)
    objects, n = label(pixels > 1700)
    sizes = np.bincount(objects.ravel())
    for i in [i for i in range(1, n) if sizes[i] > 150][:5]:  # a stroke through the middle of five nuclei
        at = np.argwhere(objects == i)
        row = at[at[:, 0] == int(np.median(at[:, 0]))]
        dock.bench.paint(np.concatenate([row + np.array([dy, 0]) for dy in (-1, 0, 1)])[:60], 2)
    rng = np.random.default_rng(0)
    places = [(y, x) for y, x in rng.integers(10, 460, (200, 2)) if pixels[y - 6 : y + 9, x - 6 : x + 46].max() < 1000]
    for place in places[:5]:
        dock.bench.paint(np.argwhere(np.ones((3, 40))) + place, 1)
    dock.bench.strokes_changed()
    dock.quality.measure()
    for _ in range(200):
        QTest.qWait(50)
        status = dock.bench.status
        if status is not None and status.state == "ready" and dock.quality.words.text():
            break
    QTest.qWait(800)
    viewer.window.screenshot(out, canvas_only=False, flash=False)
    picture = Image.open(out).convert("RGB")
    picture.resize((WIDTH, WIDTH * picture.height // picture.width)).save(out, optimize=True)
    dock.close_project()
    os._exit(0)


main(sys.argv[1])
