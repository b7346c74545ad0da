"""A plane of an image from afar: thinned until it fits into memory, read in a thread, and shown while it grows.

For images without stored coarser levels, whose views are too large to be read while someone waits.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brushwork.aside import Aside
from brushwork.blocks import Region
from brushwork.image import Image, n_channels

EDGE = 4096  # pixels; the longest that a thinned plane is
BAND = 1 << 24  # pixels of all channels that are read at once
TELL_EVERY = 0.5  # seconds


class Overview:
    """Owns the thinned plane that was asked for last, and the thread that reads it."""

    def __init__(self, image: Image, *, changed: Callable[[], None], failed: Callable[[Exception], None]) -> None:
        """changed : called on the thread when more of the plane is there."""
        self._image, self._changed = image, changed
        self._aside = Aside(failed)
        self._plane: tuple[int, ...] | None = None
        self.step = 1
        while max(image.shape[-2:]) > EDGE * self.step:
            self.step *= 2
        self._pixels = np.zeros(0, image.dtype)  # (c, y, x)

    def picture(self, channel: int, spans: tuple[range, ...]) -> NDArray[Any]:
        """Pixels of a channel as far as they are known, 0 elsewhere. spans : ([t,] *spatial) those of the image that are asked for.

        Only one plane in y and x is ever known; asking for another one begins to read that.
        """
        *planes, rows, columns = spans
        shape = [len(r) for r in spans]
        if any(len(r) > 1 for r in planes):
            return np.zeros(shape, self._image.dtype)
        self._ask(tuple(r[0] for r in planes))
        near = np.ix_(np.array(rows) // self.step, np.array(columns) // self.step)
        return self._pixels[channel][near].reshape(shape)

    def _ask(self, plane: tuple[int, ...]) -> None:
        if plane == self._plane:
            return
        self._plane = plane
        shape = [-(-n // self.step) for n in self._image.shape[-2:]]
        out = self._pixels = np.zeros((n_channels(self._image), *shape), self._image.dtype)
        self._aside.run(lambda stop: self._fill(out, plane, stop), lambda done: self._changed())

    def _fill(self, out: NDArray[Any], plane: tuple[int, ...], stop: Callable[[], bool]) -> None:
        height, width = self._image.shape[-2:]
        t, z = (plane[0] if self._image.n_frames > 1 else 0), plane[-1:] * (len(self._image.shape) - 2)
        rows = max(BAND // (len(out) * width * self.step), 1) * self.step
        told = time.monotonic()
        for y in range(0, height, rows):
            if stop():
                return
            band = Region((*z, y, 0), (*(a + 1 for a in z), min(y + rows, height), width), t)
            pixels = self._image.read(band).reshape(len(out), -1, width)[:, :: self.step, :: self.step]
            out[:, y // self.step :][:, : pixels.shape[1]] = pixels
            if time.monotonic() - told > TELL_EVERY:
                told = time.monotonic()
                self._changed()

    def close(self) -> None:
        self._aside.close()
