"""From probabilities to the pixels that belong to objects: which class, smoothed how much, from which threshold on."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

from brushwork.blocks import Region
from brushwork.errors import InputError, unknown
from brushwork.image import ArrayImage, Image

FULL = {"u1": 255.0, "u2": 65535.0, "b1": 1.0}  # what stands for a probability of 1, by type
WINDOW = 2.0  # of the Gaussian, in sigmas, as in ilastik's thresholding


@dataclass(frozen=True)
class Foreground:
    """Which pixels of a probability map belong to objects.

    channel : of the map. threshold : a pixel counts from this probability on, 0 to 1; None where `beats_others` decides alone.
    core : a group of connected pixels counts only where one of them reaches this probability, too; None for all groups.
    beats_others : a pixel counts only where its class has the highest probability of all (of equal ones the first has it).
    sigma : pixels per spatial axis, all 0 for none: probabilities are smoothed before.
    """

    channel: int = 0
    threshold: float | None = 0.5
    core: float | None = None
    beats_others: bool = False
    sigma: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name in ("threshold", "core"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise InputError(f"a {name} of {value:g} was given; probabilities lie between 0 and 1")
        if self.threshold is None and not self.beats_others:
            raise InputError(
                "neither a threshold nor 'beats others' was given; one of them has to say what an object is"
            )
        if self.core is not None and self.core < (self.threshold or 0):
            raise InputError(
                f"the core's threshold, {self.core:g}, lies below that of the whole object, {self.threshold:g}; it has to be higher"
            )
        if any(not 0 <= s < math.inf for s in self.sigma):
            raise InputError(f"sigmas of {self.sigma} pixels were given; they have to be 0 or more")

    def check(self, image: Image) -> None:
        """Raise InputError where an image cannot be a probability map with this class."""
        if image.dtype.str[1:] not in FULL and image.dtype.kind != "f":
            raise InputError(
                f"{image.uri} holds {image.dtype}; probabilities are uint8 or uint16 (the type's maximum is 1) or float from 0 to 1"
            )
        if not 0 <= self.channel < len(image.channel_names):
            raise unknown("class", self.channel, range(len(image.channel_names)))
        if self.sigma and len(self.sigma) != len(image.shape):
            raise InputError(
                f"{len(self.sigma)} sigmas were given for {len(image.shape)} axes; give one, or one per axis"
            )

    def values(self, image: Image, region: Region) -> NDArray[np.float32]:
        """Probabilities of the class in a region, (*spatial) float32, smoothed."""
        return self._seen(image, region, slice(self.channel, self.channel + 1))[0]

    def masks(self, image: Image, region: Region) -> tuple[NDArray[np.bool_], NDArray[np.bool_] | None]:
        """(pixels that count, pixels of cores or None where no core is asked for) of a region."""
        if self.beats_others:
            seen = self._seen(image, region, slice(None))
            mine, found = seen[self.channel], seen.argmax(0) == self.channel
            if self.threshold is not None:
                found &= _at_least(mine, self.threshold)
            return found, None if self.core is None else _at_least(mine, self.core)
        assert self.threshold is not None
        if self._is_smooth or image.dtype.kind == "f":
            mine = self.values(image, region)
            return _at_least(mine, self.threshold), None if self.core is None else _at_least(mine, self.core)
        stored = _stored(image, region, slice(self.channel, self.channel + 1))[0]
        cut = smallest_stored(image.dtype, self.threshold)
        return stored >= cut, None if self.core is None else stored >= smallest_stored(image.dtype, self.core)

    @property
    def _is_smooth(self) -> bool:
        return any(s > 0 for s in self.sigma)

    def _seen(self, image: Image, region: Region, channels: slice) -> NDArray[np.float32]:
        if not self._is_smooth:
            return _probabilities(image, region, channels)
        radii = [math.floor(WINDOW * s + 0.5) for s in self.sigma]
        wanted = region.grown(radii)
        held = wanted.clipped(image.shape)
        seen = _probabilities(image, held, channels)
        for axis, (sigma, radius) in enumerate(zip(self.sigma, radii)):
            if radius:
                missing = (held.start[axis] - wanted.start[axis], wanted.stop[axis] - held.stop[axis])
                seen = _blurred(seen, axis + 1, _gaussian(sigma, radius), radius, missing)
        return seen


def _at_least(values: NDArray[np.float32], cut: float) -> NDArray[np.bool_]:
    return values >= np.float32(cut)


def smallest_stored(dtype: np.dtype, probability: float) -> int:
    """The smallest stored number that stands for at least this probability.

    >>> smallest_stored(np.dtype("uint8"), 0.7)
    179
    """
    full = FULL[dtype.str[1:]]
    near = math.floor(probability * full)
    return next(k for k in range(max(near - 1, 0), int(full) + 1) if k / full >= probability)


def _gaussian(sigma: float, radius: int) -> NDArray[np.float64]:
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return weights / weights.sum()


def _blurred(
    seen: NDArray[np.float32], axis: int, weights: NDArray[np.float64], radius: int, missing: tuple[int, int]
) -> NDArray[np.float32]:
    """Along an axis, mirrored where the image ends. missing : pixels that lie outside, before and behind."""
    width = [(0, 0)] * seen.ndim
    width[axis] = missing
    padded = np.pad(seen, width, mode="reflect") if seen.shape[axis] > 1 else np.pad(seen, width, mode="edge")
    smooth = correlate1d(padded, weights, axis=axis, mode="nearest")
    return smooth[tuple(slice(radius, -radius) if a == axis else slice(None) for a in range(seen.ndim))]


def _probabilities(image: Image, region: Region, channels: slice) -> NDArray[np.float32]:
    stored = _stored(image, region, channels)
    if image.dtype.kind != "f":
        return np.asarray(stored / FULL[image.dtype.str[1:]], np.float32)
    if stored.size and not (stored.min() >= 0 and stored.max() <= 1):  # also where one is not a number
        raise InputError(
            f"{image.uri} holds numbers from {stored.min():g} to {stored.max():g}; probabilities lie between 0 and 1: "
            "give a probability map, or divide it by its largest value"
        )
    return np.asarray(stored, np.float32)


def _stored(image: Image, region: Region, channels: slice) -> NDArray:
    """Some channels as they are stored, (c, *spatial)."""
    if isinstance(image, ArrayImage):
        return image.stored(region)[channels]
    return image.read(region)[channels]


def sigmas(given: float | Sequence[float], ndim: int) -> tuple[float, ...]:
    """One sigma per axis; () for none."""
    values = (float(given),) * ndim if isinstance(given, int | float) else tuple(float(s) for s in given)
    return values if any(values) else ()
