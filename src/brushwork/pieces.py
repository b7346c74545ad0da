"""Labels of many boxes, kept in one file until they are joined. Open it to change how they are kept."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from brushwork.blocks import Region
from brushwork.kernels.runs import count_runs, from_runs, to_runs


@dataclass(frozen=True)
class _Place:
    region: Region
    offset: int
    n_runs: int


class Pieces:
    """Labels of boxes, added and read by any thread. Owns a file, which ends with it.

    What is added keeps its number: 0, 1, ... in the order of adding.
    """

    def __init__(self, file: Path) -> None:
        self._path, self._file = file, file.open("w+b")
        self._places: list[_Place] = []
        self._lock = threading.Lock()
        self._end = 0

    def __enter__(self) -> "Pieces":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    def add(self, region: Region, labels: NDArray[np.int32]) -> int:
        """Keep the labels (region.shape) int32 of a box; returns its number."""
        rows = np.ascontiguousarray(labels).reshape(-1, labels.shape[-1])
        runs = np.empty((3, count_runs(rows)), np.int32)
        to_runs(rows, runs)
        with self._lock:
            self._file.seek(self._end)
            self._file.write(runs.tobytes())
            self._places.append(_Place(region, self._end, runs.shape[1]))
            self._end += runs.nbytes
            return len(self._places) - 1

    def draw(self, number: int, names: NDArray[np.int64], region: Region, out: NDArray[np.int64]) -> None:
        """Draw what of a box lies in a region, into the region's array: names[label], except where that is 0."""
        place = self._places[number]
        box = place.region
        low = [max(a, b) for a, b in zip(region.start, box.start)]
        high = [min(a, b) for a, b in zip(region.stop, box.stop)]
        if box.t != region.t or not place.n_runs or any(a >= b for a, b in zip(low, high)):
            return
        with self._lock:
            self._file.seek(place.offset)
            runs = np.frombuffer(self._file.read(12 * place.n_runs), np.int32).reshape(3, -1)
        at = _three([a - b for a, b in zip(low, region.start)], 0)
        low_in, high_in = (
            _three([a - b for a, b in zip(corner, box.start)], fill) for corner, fill in ((low, 0), (high, 1))
        )
        runs = _between(runs, low_in, high_in, box.shape)
        from_runs(runs, _three(box.shape, 1), low_in, high_in, names, out.reshape(_three(out.shape, 1)), at)


def _three(numbers: Sequence[int], missing: int) -> tuple[int, ...]:
    return (missing,) * (3 - len(numbers)) + tuple(int(n) for n in numbers)


def _between(
    runs: NDArray[np.int32], low: tuple[int, ...], high: tuple[int, ...], shape: tuple[int, ...]
) -> NDArray[np.int32]:
    """The runs in the rows from the first to the last of a part."""
    _, height, width = _three(shape, 1)
    first, last = (low[0] * height + low[1]) * width, ((high[0] - 1) * height + high[1]) * width
    return np.ascontiguousarray(runs[:, np.searchsorted(runs[0], first) : np.searchsorted(runs[0], last)])
