"""An image at another pixel size, read region by region, and results brought back to its own pixels."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from brushwork.blocks import Region
from brushwork.errors import InputError
from brushwork.image import Image, View

WINDOW = 4.0  # radius of the smoothing before pixels are made larger, in sigmas


@dataclass(frozen=True, eq=False)
class Resampled(View):
    """`image` interpolated linearly to another pixel size; smoothed first along axes whose pixels become larger.

    edges : micrometres, the new pixel size. ratio : per axis, new pixel size / old.
    """

    edges: tuple[float, ...]
    ratio: tuple[float, ...]

    @staticmethod
    def to(image: Image, pixel_size: tuple[float, ...]) -> "Resampled | Image":
        """The image at `pixel_size` (micrometres); itself where its own is the same. InputError where that is unknown."""
        if image.pixel_size is None:
            raise InputError(
                f"the pixel size of {image.uri or 'the image'} is unknown, so it cannot be resampled to {pixel_size} um; "
                "give --pixel-size"
            )
        if np.allclose(image.pixel_size, pixel_size, rtol=1e-3, atol=0):
            return image
        return Resampled(image, pixel_size, tuple(b / a for a, b in zip(image.pixel_size, pixel_size)))

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(max(round(n / r), 1) for n, r in zip(self.image.shape, self.ratio))

    @property
    def pixel_size(self) -> tuple[float, ...]:
        return self.edges

    def read(self, region: Region) -> NDArray[np.float32]:
        """See Image.read."""
        return _interpolated(region, self.ratio, self.image.shape, self._smoothed)

    def _smoothed(self, region: Region) -> NDArray[np.float32]:
        from scipy.ndimage import gaussian_filter1d

        around = region.grown(self._reach).clipped(self.image.shape)
        pixels = self.image.read(around)
        for axis, sigma in enumerate(self._sigmas, start=1):
            if sigma:
                pixels = gaussian_filter1d(pixels, sigma, axis=axis, mode="mirror", truncate=WINDOW)
        return pixels[(slice(None), *region.slices_in(around))]

    def bytes_to_read(self, made: Sequence[int], halo: Sequence[int]) -> int:
        """About what `read` holds for a box of `made` pixels with its halo: source pixels, smoothed twice, and coordinates."""
        boxes = [m + 2 * h for m, h in zip(made, halo)]
        source = math.prod(
            min(math.ceil(b * r + 2 * reach) + 2, n)
            for b, r, reach, n in zip(boxes, self.ratio, self._reach, self.image.shape)
        )
        return 12 * source * len(self.channel_names) + 16 * len(boxes) * math.prod(boxes)

    @property
    def _sigmas(self) -> list[float]:
        return [max(r - 1, 0) / 2 for r in self.ratio]

    @property
    def _reach(self) -> list[int]:
        return [int(WINDOW * s + 0.5) for s in self._sigmas]

    def back(self, region: Region, compute: Callable[[Region], NDArray[np.float32]]) -> NDArray[np.float32]:
        """What `compute` gives at this pixel size, interpolated at the pixels of `region` of the original image."""
        return _interpolated(region, tuple(1 / r for r in self.ratio), self.shape, compute)


def _interpolated(
    region: Region, ratio: tuple[float, ...], shape: tuple[int, ...], compute: Callable[[Region], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Linear interpolation at the pixel centres of `region`, whose pixels are `ratio` source pixels wide.

    compute : region of the source (of `shape`) -> (c, *spatial).
    """
    from scipy.ndimage import map_coordinates

    at = [(np.arange(a, b) + 0.5) * r - 0.5 for a, b, r in zip(region.start, region.stop, ratio)]
    at = [np.clip(c, 0, n - 1) for c, n in zip(at, shape)]
    start = tuple(int(np.floor(c[0])) for c in at)
    stop = tuple(min(int(np.floor(c[-1])) + 2, n) for c, n in zip(at, shape))
    source = compute(Region(start, stop, region.t))
    grid = np.meshgrid(*(c - s for c, s in zip(at, start)), indexing="ij")
    return np.stack([map_coordinates(channel, grid, order=1, mode="nearest") for channel in source])
