"""A real window on a virtual display, painted in with mouse events. Skips, with the reason, where there is no display."""

import gc
import importlib
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # painting.py
os.environ.setdefault("NAPARI_CONFIG", str(Path(tempfile.mkdtemp()) / "settings.yaml"))  # never the user's settings
PICTURES = Path(os.environ.get("BRUSHWORK_SCREENSHOTS", Path(tempfile.gettempdir()) / "brushwork-screenshots"))


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if here in Path(item.fspath).parents:
            item.add_marker(pytest.mark.filterwarnings("default"))  # napari and Qt warn of themselves
            if sys.platform == "linux" and not os.environ.get("DISPLAY"):
                item.add_marker(
                    pytest.mark.skip(reason="no display: run scripts/with-display.sh (Xvfb) to test the window")
                )


@pytest.fixture(scope="session", autouse=True)
def _modules_kept_from_the_collector():
    """napari collects garbage for each layer that goes; it need not look at what was imported."""
    if os.environ.get("DISPLAY") or sys.platform != "linux":
        importlib.import_module("brushwork.napari.start")
        gc.collect()
        gc.freeze()


class Painter:
    """Drives a viewer as a hand does."""

    def __init__(self, viewer, dock):
        from qtpy.QtTest import QTest

        self.viewer, self.dock, self._wait = viewer, dock, QTest.qWait
        self.canvas = viewer.window._qt_viewer.canvas.native

    def settle(self, ms=60, turns=60):
        """Wait until the canvas keeps its size: a new dock lays the window out again later."""
        last, same = None, 0
        for _ in range(turns):
            self._wait(ms)
            now = (self.canvas.width(), self.canvas.height(), self.viewer.scene.camera.zoom)
            same = same + 1 if now == last else 0
            last = now
            if same >= 3:
                return

    def at(self, point):
        """Canvas position (x, y) of a pixel of the image."""
        dims, place = self.viewer.dims, np.asarray(self.dock.scene.images[0].data_to_world(point))
        world = place[[axis - dims.ndim for axis in dims.displayed]]  # other layers may have more axes, in front
        camera = self.viewer.scene.camera
        size = np.array([self.canvas.height(), self.canvas.width()])
        at = ((world - np.asarray(camera.center)[-2:]) * camera.zoom + size / 2)[::-1]
        assert (at >= 0).all()
        assert (at < size[::-1]).all(), "outside of the canvas; the window would take it for a drag of its docks"
        return at

    def stroke(self, points, step=12, lift=True):
        """Press at the first point, move over the others, let go at the last. step : ms; napari drops faster moves."""
        from qtpy.QtCore import QEvent, QPointF, Qt
        from qtpy.QtGui import QMouseEvent
        from qtpy.QtWidgets import QApplication

        none, left = Qt.MouseButton.NoButton, Qt.MouseButton.LeftButton

        def send(kind, point, button, buttons):
            local = QPointF(*map(float, point))
            whole = QPointF(self.canvas.mapToGlobal(local.toPoint()))
            event = QMouseEvent(kind, local, whole, button, buttons, Qt.KeyboardModifier.NoModifier)
            QApplication.sendEvent(self.canvas, event)
            self._wait(step)

        path = [self.at(p) for p in points]
        send(QEvent.Type.MouseMove, path[0], none, none)
        send(QEvent.Type.MouseButtonPress, path[0], left, left)
        for p in path[1:]:
            send(QEvent.Type.MouseMove, p, none, left)
        if lift:
            send(QEvent.Type.MouseButtonRelease, path[-1], left, none)

    def key(self, key, modifier=None):
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        QTest.keyClick(self.canvas, key, modifier or Qt.KeyboardModifier.NoModifier)

    def until(self, holds, what, seconds=60):
        """Let the window live until something holds."""
        for _ in range(seconds * 50):
            if holds():
                return
            self._wait(20)
        raise AssertionError(
            f"waited {seconds} s for: {what}; the dock says {self.dock.status.text()!r} {self.dock.message.text()!r}"
        )

    def until_ready(self):
        """Until everything in view is predicted by a model of the newest strokes."""
        bench = self.dock.bench

        def ready():
            status = bench.status
            is_newest = status is not None and status.generation == bench.generation
            return is_newest and status.state == "ready" and status.fraction == 1

        self._wait(60)
        self.until(ready, "the prediction of the view")
        self._wait(150)  # the last tiles are drawn

    def predicted(self):
        """Class ids of the whole image in front, 0 where nothing is known."""
        from brushwork.blocks import whole
        from brushwork.tile_store import SEGMENTATION

        return self.dock.bench.tiles.picture(self.dock.bench.image_id, SEGMENTATION, whole(self.dock.bench.image.shape))

    def screen(self):
        return self.viewer.screenshot(canvas_only=True, flash=False)

    def keep(self, name):
        """Keep a picture of the whole window, to be looked at."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        self.viewer.window.screenshot(str(PICTURES / f"{name}.png"), canvas_only=False, flash=False)


@pytest.fixture
def painter():
    """painter(viewer, dock) -> Painter; docks are closed at the end."""
    made = []

    def of(viewer, dock):
        made.append(Painter(viewer, dock))
        made[-1].settle()
        return made[-1]

    yield of
    for p in made:
        p.dock.close_project()


@pytest.fixture
def open_window(make_napari_viewer, qtbot, painter):
    """open_window(folder, images) -> Painter."""
    from brushwork.napari.start import add_dock

    def opened(folder, images=(), **how):
        viewer = make_napari_viewer(show=True)
        viewer.window._qt_window.setGeometry(0, 0, 1500, 950)
        with qtbot.waitExposed(viewer.window._qt_window):
            pass
        qtbot.wait(300)  # the window takes its size later
        dock = add_dock(viewer, folder, [str(i) for i in images], **how)
        return painter(viewer, dock)

    return opened
