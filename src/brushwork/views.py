"""What is in view: regions, the pieces of them that one worker predicts, and what is told of them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from brushwork.blocks import Region, grid
from brushwork.classifier import Classifier
from brushwork.feature_cache import FeatureCache
from brushwork.features import FeatureSet
from brushwork.image import Image

# In 2D the halves of a tile are on the screen in half the time; a plane of a stack is not cut, as each part would need a slab of
# its own.
PIECE_EDGE = {2: (256, 512), 3: (256, 256, 256)}
Piece = tuple[Region, Region]  # (region in view, the part of it that one worker does)

State = Literal["idle", "features", "training", "predicting", "ready", "failed"]


@dataclass(frozen=True, eq=False)
class Shown:
    """A predicted region.

    image : its id. generation : of the labels and the recipe that the model was trained on, as `paint` and `use` returned it.
    probabilities : (n_classes, *spatial) float32. classes : (n_classes,) ids of the painted classes, in the same order.
    """

    image: str
    region: Region
    generation: int
    probabilities: NDArray[np.float32] = field(repr=False)
    classes: tuple[int, ...]


@dataclass(frozen=True)
class Status:
    """What a session is doing, for one line of text.

    fraction : of what is in view that is done. generation : the newest that was asked for.
    seconds_to_first, seconds_to_full : from the last stroke to the first region shown, and to all; None before.
    """

    state: State
    fraction: float = 0.0
    generation: int = 0
    seconds_to_first: float | None = None
    seconds_to_full: float | None = None


@dataclass(frozen=True, eq=False)
class View:
    """Regions of an image, most wanted first."""

    image_id: str
    image: Image
    regions: tuple[Region, ...]

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        edge = PIECE_EDGE[len(self.image.shape)]
        return tuple((region, part) for region in self.regions for part in grid(region, edge))

    def is_of_same_image(self, other: "View") -> bool:
        return self.image is other.image and self.image_id == other.image_id

    @cached_property
    def parts(self) -> tuple[Region, ...]:
        return tuple(part for _, part in self.pieces)

    def maps(
        self, cache: FeatureCache, features: FeatureSet, part: Region, go_on: Callable[[], None]
    ) -> NDArray[np.float32] | None:
        """See FeatureCache.maps_of; nothing in view is dropped for them."""
        go_on()
        return cache.maps_of(self.image, features, part, wanted=self.parts, go_on=go_on)

    def probabilities(
        self, cache: FeatureCache, model: Classifier, part: Region, go_on: Callable[[], None]
    ) -> NDArray[np.float32]:
        """What model.predict_block answers, (n_classes, *spatial), from kept maps where these are faster."""
        go_on()
        maps = self.maps(cache, model.features, part, go_on) if model.earlier is None else None
        if maps is None:
            return model.predict_block(self.image, model.block(self.image, part))
        return model.probabilities(maps.reshape(len(maps), -1), width=part.shape[-1]).reshape(-1, *part.shape)


class Canvas:
    """A region's probabilities, (n_classes, *spatial), while its parts arrive. Owns the pixels."""

    def __init__(self, region: Region, n_classes: int) -> None:
        self.pixels = np.empty((n_classes, *region.shape), np.float32)
        self._region, self._left = region, region.size

    def add(self, part: Region, probabilities: NDArray[np.float32]) -> bool:
        """Whether the region is complete with this part."""
        self.pixels[(slice(None), *part.slices_in(self._region))] = probabilities
        self._left -= part.size
        return self._left == 0
