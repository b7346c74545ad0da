"""How soon the window answers a stroke: napari and the dock on a virtual display, painted in with mouse events.

    scripts/with-display.sh python -m benchmarks.window [2d] [3d] [first]

Bars: on two cores with software OpenGL, preset "all", a view of one megapixel. A stroke is timed from just before its mouse release
is sent: to the first tile that reaches the window's thread, to the first pixel of the display that changed away from the stroke,
and to the frame that shows all tiles. The window's thread is watched by a timer of 5 ms from the mouse press until all is shown;
the longest gap of each stroke counts. `first` opens a new window in a new process each time and paints both classes at once.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.live import VOLUME, hashed
from brushwork.io import READERS, Stored
from brushwork.io.stored import one_level

MEGAPIXEL = 1 << 20
SIDE = 2048  # pixels of the picture in memory
SQUARE = 32  # pixels; the bright and dark squares of `hashed`
N_STROKES = 40
N_FIRST = 5
STEP = 12  # milliseconds between mouse moves; napari drops faster ones
BEAT = 5  # milliseconds
PATIENCE = 120  # seconds
BARS = {"2d": (0.1, 0.25, 0.5), "3d": (1.0, 1.0, 1.0)}  # seconds to the first tile, the first pixel, the full view
FIRST_BAR = 1.5
BLOCK_BAR = 0.1


class HashedArray:
    """A volume that no disk holds: its pixels are made when they are sliced."""

    shape = VOLUME
    dtype = np.dtype(np.uint16)
    ndim = 3

    def __getitem__(self, key: Any) -> np.ndarray:
        where = [k if isinstance(k, slice) else slice(k, k + 1) for k in key]
        spans = [range(n)[k] for k, n in zip(where, self.shape)]
        out = np.empty([len(s) for s in spans], np.float32)
        hashed(*[s.start for s in spans], out)
        whole = out.astype(self.dtype)
        return whole[tuple(slice(None) if isinstance(k, slice) else 0 for k in key)]


def read_hashed(uri: str) -> Stored:
    """The reader of hashed:// addresses, so that a project can hold the volume."""
    return one_level(HashedArray(), "zyx")


def image_of(which: str, folder: Path) -> str:
    """What a project opens."""
    if which == "3d":
        READERS["hashed"] = read_hashed
        return "hashed://volume"
    out = np.empty((1, SIDE, SIDE), np.float32)
    hashed(0, 0, 0, out)
    file = folder / "squares.npy"
    np.save(file, out[0].astype(np.uint16))
    return str(file)


@dataclass(frozen=True)
class Answered:
    """Seconds from a mouse release to what was seen of it. pixel : None where the new prediction looks the same.

    block : the longest gap of the window's thread from the press on.
    """

    tile: float
    pixel: float | None
    full: float
    block: float


class Watch:
    """Notes when things happened in a window since `began`. Owns those times."""

    def __init__(self, dock: Any, canvas: Any) -> None:
        from qtpy.QtCore import QTimer

        self._dock, self._canvas = dock, canvas
        self.clear()
        dock._bridge.changed.connect(self._told)
        canvas.frameSwapped.connect(self._drawn)
        refresh = dock.scene.refresh

        def refreshed() -> None:
            refresh()
            self.refreshes.append(time.perf_counter())

        dock.scene.refresh = refreshed
        self._timer = QTimer()
        self._timer.setInterval(BEAT)
        self._timer.timeout.connect(lambda: self.beats.append(time.perf_counter()))
        self._timer.start()

    def clear(self) -> None:
        self.tiles: list[float] = []
        self.refreshes: list[float] = []
        self.frames: list[float] = []
        self.beats: list[float] = [time.perf_counter()]
        self.pixel: float | None = None
        self._before: np.ndarray | None = None
        self._rows: slice = slice(0)

    def compare(self, before: np.ndarray, rows: slice) -> None:
        """Note the first frame that differs from a picture of the canvas outside of some rows."""
        self._before, self._rows = before, rows

    def seen(self) -> np.ndarray:
        """The canvas as the display shows it, (y, x) uint32."""
        from qtpy.QtCore import QPoint

        corner = self._canvas.mapToGlobal(QPoint(0, 0))
        size = self._canvas.width(), self._canvas.height()
        image = self._canvas.screen().grabWindow(0, corner.x(), corner.y(), *size).toImage()
        pixels = image.constBits()
        pixels.setsize(image.sizeInBytes())
        return np.frombuffer(pixels, np.uint32).reshape(image.height(), -1).copy()

    def _told(self, changed: Any) -> None:
        if changed.topic == "tiles" and changed.region is not None:
            self.tiles.append(time.perf_counter())

    def _drawn(self) -> None:
        now = time.perf_counter()
        self.frames.append(now)
        if self._before is not None and self.pixel is None and self.refreshes:
            differs = self.seen() != self._before
            differs[self._rows] = False
            if differs.any():
                self.pixel = now

    def answered(self, released: float) -> Answered:
        """What happened since the release of a stroke that is all shown now."""
        last = max(t for t in self.refreshes if t > self.tiles[-1] or t == self.refreshes[-1])
        full = next(t for t in self.frames if t >= last)
        beats = [t for t in self.beats if t <= full]
        beats.append(full if len(beats) == len(self.beats) else self.beats[len(beats)])
        tile = next(t for t in self.tiles if t >= released)
        pixel = None if self.pixel is None else self.pixel - released
        return Answered(tile - released, pixel, full - released, float(np.diff(beats).max()))


class Window:
    """A window with the dock over one image, and a hand that paints in it."""

    def __init__(self, viewer: Any, dock: Any) -> None:
        from qtpy.QtTest import QTest

        self.viewer, self.dock, self.wait = viewer, dock, QTest.qWait
        self.canvas = viewer.window._qt_viewer.canvas.native
        self._settle()
        self._show_a_megapixel()
        self.watch = Watch(dock, self.canvas)

    def _settle(self) -> None:
        """Until the canvas keeps its size: a new dock lays the window out again later."""
        sizes: list[tuple[int, int]] = []
        while len(sizes) < 5 or len(set(sizes[-5:])) > 1:
            self.wait(60)
            sizes.append((self.canvas.width(), self.canvas.height()))

    def _show_a_megapixel(self) -> None:
        shape = self.dock.bench.image.shape
        camera = self.viewer.scene.camera
        if len(shape) == 3:
            self.viewer.dims.set_point(0, shape[0] // 2)
        middle = [n // 2 // SQUARE * SQUARE for n in shape[-2:]]
        camera.center = (*([0] if len(shape) == 3 else []), *middle)[-len(camera.center) :]
        camera.zoom = (self.canvas.width() * self.canvas.height() / MEGAPIXEL) ** 0.5
        self.wait(200)

    def until(self, holds: Callable[[], bool]) -> None:
        end = time.perf_counter() + PATIENCE
        while not holds():
            assert time.perf_counter() < end, self.dock.message.text()
            self.wait(5)

    def is_answered(self) -> bool:
        """Whether all in view is predicted from what is painted, and drawn."""
        session, watch = self.dock.bench._session, self.watch
        return (
            session.model is not None
            and session.model_generation == session._asked.generation
            and not session._unpredicted()
            and self.dock._tiles.is_done
            and bool(watch.tiles)
            and watch.refreshes[-1] > watch.tiles[-1] - BEAT / 1000
            and any(t > watch.refreshes[-1] for t in watch.frames)
        )

    def rest(self) -> None:
        """Until nothing is computed any more."""
        self.until(lambda: self.dock.bench.status is not None and self.dock.bench.status.state in ("idle", "ready"))
        self.wait(150)

    def at(self, y: float, x: float) -> np.ndarray:
        """Canvas position (x, y) of a pixel in the displayed plane."""
        camera = self.viewer.scene.camera
        size = np.array([self.canvas.height(), self.canvas.width()])
        return ((np.array([y, x]) - np.array(camera.center)[-2:]) * camera.zoom + size / 2)[::-1]

    def choose(self, class_id: int) -> None:
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        QTest.keyClick(self.canvas, Qt.Key(Qt.Key.Key_0 + class_id), Qt.KeyboardModifier.ControlModifier)

    def stroke(self, start: tuple[float, float], length: int = 24) -> float:
        """Paint along x; returns when its mouse release was sent."""
        from qtpy.QtCore import QEvent, QPointF, Qt
        from qtpy.QtGui import QMouseEvent
        from qtpy.QtWidgets import QApplication

        none, left = Qt.MouseButton.NoButton, Qt.MouseButton.LeftButton

        def send(kind: Any, point: Any, button: Any, buttons: Any) -> float:
            local = QPointF(*map(float, point))
            whole = QPointF(self.canvas.mapToGlobal(local.toPoint()))
            sent = time.perf_counter()
            modifier = Qt.KeyboardModifier.NoModifier
            QApplication.sendEvent(self.canvas, QMouseEvent(kind, local, whole, button, buttons, modifier))
            return sent

        y, x = start
        path = [self.at(y, x + d) for d in range(0, length + 1, 3)]
        send(QEvent.Type.MouseMove, path[0], none, none)
        self.wait(STEP)
        send(QEvent.Type.MouseButtonPress, path[0], left, left)
        for point in path[1:]:
            self.wait(STEP)
            send(QEvent.Type.MouseMove, point, none, left)
        self.wait(STEP)
        return send(QEvent.Type.MouseButtonRelease, path[-1], left, none)

    def timed(self, start: tuple[float, float]) -> Answered:
        """Paint a stroke and wait until its answer is on the screen."""
        before = self.watch.seen()
        self.watch.clear()
        y = int(self.at(*start)[1])
        self.watch.compare(before, slice(max(y - 40, 0), y + 40))
        released = self.stroke(start)
        self.watch.tiles.clear()  # of the answer before
        self.until(self.is_answered)
        return self.watch.answered(released)

    def squares(self, seed: int = 0) -> Iterator[tuple[int, tuple[float, float]]]:
        """(class, where a stroke fits) over and over: bright squares are class 2, dark ones class 1."""
        rng = np.random.default_rng(seed)
        z = self.dock.bench.image.shape[0] // 2 // 16 if len(self.dock.bench.image.shape) == 3 else 0
        middle = np.array(self.viewer.scene.camera.center)[-2:] // SQUARE
        class_id = 1
        while True:
            at = middle + rng.integers(-12, 12, 2)
            if (z + at.sum()) % 2 == class_id - 1:
                yield class_id, tuple(at * SQUARE + (rng.integers(6, SQUARE - 6), 4))
                class_id = 3 - class_id


@contextmanager
def window(which: str) -> Iterator[Window]:
    """A new window on a new project of one image."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["NAPARI_CONFIG"] = str(folder / "settings.yaml")
        import napari

        from brushwork.napari.start import add_dock

        viewer = napari.Viewer()
        viewer.window._qt_window.setGeometry(0, 0, 1600, 1000)
        dock = add_dock(viewer, folder / "squares.brushwork", [image_of(which, folder)])
        try:
            yield Window(viewer, dock)
        finally:
            dock.close_project()
            viewer.close()


def row(what: str, seconds: Sequence[float | None], bar: float | None = None, of: int = 50) -> None:
    """A line of the table. of : the percentile that the bar is for."""
    known = [s for s in seconds if s is not None]
    if not known:
        print(f"  {what:52} nothing was seen")
        return
    median, p95 = np.percentile(known, [50, 95]) * 1e3
    reached = median if of == 50 else p95
    verdict = "" if bar is None else f"at most {bar * 1e3:5.0f}  {'met' if reached <= bar * 1e3 else 'MISSED'}"
    print(f"  {what:52} {median:7.0f} {p95:7.0f} ms   {verdict}", flush=True)


def strokes(which: str) -> None:
    """One stroke after another on one view."""
    with window(which) as w:
        size = f"{w.canvas.width()} x {w.canvas.height()}"
        print(f"{which}, canvas of {size} pixels, load {os.getloadavg()[0]:.1f}{'':18} {'median':>7} {'p95':>7}")
        places = w.squares()
        for _ in range(2):
            class_id, start = next(places)
            w.choose(class_id)
            w.stroke(start)
        w.until(w.is_answered)
        w.rest()
        found = []
        for _ in range(N_STROKES):
            class_id, start = next(places)
            w.choose(class_id)
            w.rest()
            found.append(w.timed(start))
        tile, pixel, full = BARS[which]
        row("mouse release to the first tile in the window", [a.tile for a in found], tile)
        row("mouse release to the first changed pixel", [a.pixel for a in found], pixel)
        row("mouse release to the full view on the screen", [a.full for a in found], full)
        row("longest block of the window's thread, per stroke", [a.block for a in found], BLOCK_BAR, of=95)
        row("the same with live off", _without_answers(w, places))
        print(f"  {sum(a.pixel is None for a in found)} of {len(found)} answers look the same as those before")


def _without_answers(w: Window, places: Iterator[tuple[int, tuple[float, float]]]) -> list[float]:
    """Seconds of the longest block of each stroke while nothing is learnt: what painting alone takes here."""
    w.dock.live.setChecked(False)
    blocks = []
    for _ in range(N_STROKES // 2):
        class_id, start = next(places)
        w.choose(class_id)
        w.rest()
        w.watch.clear()
        w.stroke(start)
        w.wait(300)
        blocks.append(float(np.diff(w.watch.beats).max()))
    w.dock.live.setChecked(True)
    return blocks


def first_stroke(which: str) -> None:
    """In a new process: open, and at once paint both classes."""
    with window(which) as w:
        places = w.squares()
        class_id, start = next(places)
        w.choose(class_id)
        w.stroke(start)
        class_id, start = next(places)
        w.choose(class_id)
        found = w.timed(start)
        print("seconds", found.tile, found.pixel if found.pixel is not None else found.full, found.full)


def first(which: str) -> None:
    times = []
    for _ in range(N_FIRST):
        command = [sys.executable, "-m", "benchmarks.window", "first-stroke", which]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        line = next(line for line in done.stdout.splitlines() if line.startswith("seconds"))
        times.append([float(word) for word in line.split()[1:]])
    print(f"{which}, {N_FIRST} new processes, compiled kernels, load {os.getloadavg()[0]:.1f}")
    for i, what in enumerate(("the first tile in the window", "the first changed pixel", "the full view")):
        row(f"first stroke of the second class to {what}", [t[i] for t in times], FIRST_BAR if i == 1 else None)


def main(parts: list[str]) -> None:
    if parts[:1] == ["first-stroke"]:
        return first_stroke(parts[1])
    for which in [p for p in parts if p in BARS] or list(BARS):
        if parts != ["first"]:
            strokes(which)
        if not parts or "first" in parts:
            first(which)


if __name__ == "__main__":
    main(sys.argv[1:])
