"""How soon a stroke is answered: a session on a picture in memory and on a volume of 100 GB that is made where it is read.

    python -m benchmarks.live [2d] [3d] [first]

Bars: on two cores, preset "all", a view of one megapixel. Medians and 95th percentiles are of single strokes, painted one after
the other when the view is complete; `first` starts a new Python each time and paints both classes as soon as the image is open.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit

from brushwork.blocks import Region, grid
from brushwork.image import Image, as_image
from brushwork.labels import Labels
from brushwork.session import Recipe, Session, Shown, Status

CLASSES = ((1, "background"), (2, "cell"))
VOLUME = (3000, 4096, 4096)  # 100 GB as uint16
STROKE = (5, 60)  # pixels
N_STROKES = 40
PATIENCE = 120  # seconds
UINT16 = np.dtype(np.uint16)


@njit(nogil=True)
def hashed(z0, y0, x0, out):  # type: ignore[no-untyped-def]
    """out[z, y, x] = noise that depends on the position only, on a slow wave."""
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            for x in range(out.shape[2]):
                n = (z + z0) * 73856093 ^ (y + y0) * 19349663 ^ (x + x0) * 83492791
                n = (n & 0xFFFFFFFF) * 2654435761 & 0xFFFFFFFF
                wave = (z + z0) // 16 + (y + y0) // 32 + (x + x0) // 32
                out[z, y, x] = np.float32(n >> 24) + np.float32(100 * (wave % 2))


@dataclass(frozen=True)
class HashedVolume:
    """An Image that no disk holds: its pixels are made when they are read."""

    shape: tuple[int, ...] = VOLUME
    dtype: np.dtype = UINT16
    axes: str = "zyx"
    n_frames: int = 1
    channel_names: tuple[str, ...] = ("intensity",)
    pixel_size: tuple[float, ...] | None = None
    uri: str = "hashed"

    def read(self, region: Region) -> np.ndarray:
        out = np.empty(region.shape, np.float32)
        hashed(*region.start, out)
        return out[np.newaxis]


def picture() -> Image:
    """A picture of 2048 x 2048 with bright and dark squares in noise."""
    out = np.empty((1, 2048, 2048), np.float32)
    hashed(0, 0, 0, out)
    return as_image(out[0])


@dataclass(frozen=True)
class Scene:
    """An image, the megapixel in view, most wanted first, and where strokes go (axes of the plane in view)."""

    name: str
    image: Image
    view: Region
    tile: tuple[int, ...]

    @property
    def regions(self) -> list[Region]:
        middle = [(a + b) / 2 for a, b in zip(self.view.start, self.view.stop)]
        tiles = grid(self.view, self.tile)
        return sorted(tiles, key=lambda r: sum(abs((a + b) / 2 - m) for a, b, m in zip(r.start, r.stop, middle)))

    def strokes(self, n: int) -> Labels:
        """The first `n` strokes, taking turns between the classes, anywhere in view."""
        rng = np.random.default_rng(0)
        plane = [axis for axis in range(len(self.view.shape)) if self.view.shape[axis] > 1]
        coords, strokes = [], []
        for i in range(n):
            at = np.array(self.view.start)
            at[plane] += [rng.integers(0, self.view.shape[a] - s) for a, s in zip(plane, STROKE)]
            block = np.zeros((*STROKE, len(at)), np.int64) + at
            for k, a in enumerate(plane):
                block[..., a] += np.arange(STROKE[k])[:, None] if k == 0 else np.arange(STROKE[k])
            coords.append(block.reshape(-1, len(at)))
            strokes.append(np.full(block[..., 0].size, i))
        everything, of = np.concatenate(coords), np.concatenate(strokes)
        _, first = np.unique(everything, axis=0, return_index=True)
        first.sort()
        return Labels(
            self.image.shape, everything[first], (of[first] % 2 + 1).astype(np.uint8), of[first].astype(np.int32)
        )


def flat() -> Scene:
    return Scene("2D, in memory", picture(), Region((512, 512), (1536, 1536)), (512, 512))


def stack(axis: int) -> Scene:
    at = [n // 2 // 1024 * 1024 for n in VOLUME]
    size = [1024] * 3
    tile = [256] * 3
    size[axis] = tile[axis] = 1
    view = Region(tuple(at), tuple(a + s for a, s in zip(at, size)))
    return Scene(f"3D, {'zyx'[axis]} plane of 100 GB", HashedVolume(), view, tuple(tile))


class Stopwatch:
    """Times the answers of a session. Owns the present measurement."""

    def __init__(self, scene: Scene) -> None:
        self._changed = threading.Condition()
        self._left: set[Region] = set()
        self._newest = 0
        self._state = ""
        self._times: list[float] = []
        self._error: Exception | None = None
        self.session = Session(self._shown, self._failed, tell=self._told)
        self.scene = scene

    def _shown(self, shown: Shown) -> None:
        with self._changed:
            if shown.generation >= self._newest:
                self._times.append(time.perf_counter())
                self._left.discard(shown.region)
                self._changed.notify_all()

    def _told(self, status: Status) -> None:
        with self._changed:
            self._state = status.state
            self._changed.notify_all()

    def _failed(self, error: Exception) -> None:
        with self._changed:
            self._error = error
            self._changed.notify_all()

    def open(self) -> None:
        self.session.use(Recipe())
        self.session.look("image", self.scene.image, self.scene.regions)

    def rest(self) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self._state in ("idle", "ready"), PATIENCE)

    def timed(self, ask: Callable[[], int], regions: Sequence[Region]) -> tuple[float, float]:
        """Seconds from asking to the first region shown, and to all."""
        with self._changed:
            self._left, self._times = set(regions), []
            began = time.perf_counter()
            self._newest = ask()
            assert self._changed.wait_for(lambda: self._error or not self._left, PATIENCE)
            if self._error:
                raise self._error
            return self._times[0] - began, self._times[-1] - began

    def stroke(self, n: int) -> tuple[float, float]:
        labels = self.scene.strokes(n)
        return self.timed(
            lambda: self.session.paint({"image": (self.scene.image, labels)}, CLASSES), self.scene.regions
        )


def row(what: str, seconds: Sequence[float], bar: float | None) -> None:
    median, p95 = np.percentile(seconds, [50, 95]) * 1e3
    verdict = "" if bar is None else f"at most {bar * 1e3:4.0f}  {'met' if median <= bar * 1e3 else 'MISSED'}"
    print(f"  {what:46} {median:7.0f} {p95:7.0f} ms   {verdict}", flush=True)


def strokes(scene: Scene, bars: tuple[float, float]) -> None:
    """One stroke after another on one view."""
    print(f"{scene.name}{'':20}{'median':>32} {'p95':>7}")
    watch = Stopwatch(scene)
    watch.open()
    watch.stroke(2)
    watch.rest()
    times = []
    for n in range(3, N_STROKES + 1):
        times.append(watch.stroke(n))
        watch.rest()
        time.sleep(0.05)
    n_pixels = STROKE[0] * STROKE[1]
    for part in (slice(0, 14), slice(14, None)):
        firsts, fulls = zip(*times[part])
        last = (part.stop or len(times)) + 2
        row(f"stroke to first region, up to {last * n_pixels:,} pixels", firsts, bars[0])
        row(f"stroke to full view, up to {last * n_pixels:,} pixels", fulls, bars[1])
    moves = []
    for k in range(1, 6):
        regions = [_moved(region, k * 40 if len(scene.tile) == 3 else 0) for region in scene.regions]
        moves.append(_look(watch, regions))
    if len(scene.tile) == 3:
        row("another plane to its first region", [first for first, _ in moves], None)
        row("another plane to its full view", [full for _, full in moves], None)
    began = time.perf_counter()
    watch.session.close()
    row("close", [time.perf_counter() - began], 0.3)


def _moved(region: Region, by: int) -> Region:
    """The region on another plane."""
    axis = region.shape.index(1) if 1 in region.shape else 0
    start, stop = list(region.start), list(region.stop)
    start[axis], stop[axis] = start[axis] + by, stop[axis] + by
    return Region(tuple(start), tuple(stop), region.t)


def _look(watch: Stopwatch, regions: Sequence[Region]) -> tuple[float, float]:
    if list(regions) == watch.scene.regions:
        return 0.0, 0.0

    def ask() -> int:
        watch.session.look("image", watch.scene.image, regions)
        return watch.session.model_generation

    return watch.timed(ask, regions)


def first_stroke(which: str) -> None:
    """In a new process: open, and at once paint both classes."""
    watch = Stopwatch(SCENES[which]())
    watch.open()
    print(*watch.stroke(2))
    watch.session.close()


def first(which: str) -> None:
    times = []
    for _ in range(5):
        command = [sys.executable, "-m", "benchmarks.live", "first-stroke", which]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        times.append([float(word) for word in done.stdout.split()])
    print(f"{SCENES[which]().name}, a new process, no time to prepare")
    row("both classes painted, to the first region", [t[0] for t in times], 1.5)
    row("both classes painted, to the full view", [t[1] for t in times], None)


SCENES = {"2d": flat, "3d": lambda: stack(0), "3d-y": lambda: stack(1), "3d-x": lambda: stack(2)}
BARS = {"2d": (0.1, 0.3), "3d": (1.0, 1.0), "3d-y": (1.0, 1.0), "3d-x": (1.0, 1.0)}


def main(parts: list[str]) -> None:
    if parts[:1] == ["first-stroke"]:
        return first_stroke(parts[1])
    for which in [p for p in parts if p in SCENES] or list(SCENES):
        if not parts or "first" not in parts or len(parts) > 1:
            strokes(SCENES[which](), BARS[which])
        if not parts or "first" in parts:
            first(which)


if __name__ == "__main__":
    main(sys.argv[1:])
