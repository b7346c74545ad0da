"""How many strokes a quality takes: painted where brushwork proposes, at random places, or where the classifier is unsure.

python -m benchmarks.next_place [--cases a1,b1] [--seeds 6] [--strokes 16]
A simulated person starts with two strokes per class, drawn by a seed from the stored ones (budget `many`) of all training images.
Then, again and again: a place is proposed in the training images, a stroke of its true class is painted there, and the classifier
is trained anew. The Dice (mean over classes) is measured on a sample of pixels of the test images. The data are found as
benchmarks/accuracy.py does. Nothing is set per case. Ends with the bars and PASS or FAIL.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.accuracy import DATA, Case, kitio
from brushwork import FeatureSet, next_place
from brushwork.blocks import Region, whole
from brushwork.classifier import Classifier
from brushwork.feature_cache import FeatureCache
from brushwork.labels import Labels
from brushwork.next_place import Place, Points, Sample
from brushwork.priors import reweigh
from brushwork.training import Prepared, fit, prepare, rows_at

CASES = "a1,a2,a3,a4,b1,g1,d2"
N_TEST = 20_000  # pixels, over all test images
SECTIONS = 4  # of a stack, on which the test pixels lie
START = 2  # strokes per class
LENGTH = 20  # pixels of a stroke, 3 wide
REACH = 12  # pixels: a person paints so close to the proposed place
OWN_CLASS_BONUS = 8  # pixels: the class at the place itself is painted unless another one is so much closer to the room it needs
TARGETS = (0.95, 0.98)  # of the Dice that all `many` strokes reach
AROUND = np.ones((3, 3), bool)


@dataclass(frozen=True, eq=False)
class Painted:
    """A stroke on a training image. coords : (n, ndim). y : the class, from 1."""

    image: str
    coords: NDArray[np.int64]
    y: int


class World:
    """A case as the simulation needs it: what can be painted, and the rows of test pixels."""

    def __init__(self, name: str) -> None:
        self.case = case = Case(name)
        self.classes = tuple(case.about["classes"])
        self.images = {n: case.images[n] for n in case.about["train"]}
        self.truth = {n: self._truth(n) for n in self.images}
        features = FeatureSet.preset("all")
        for image in sorted(self.images.values(), key=lambda i: min(i.shape)):
            features = features.resolved(image)
        self.features = features
        self.cache = FeatureCache(2 << 30)
        self.cache.use(self.images.values())
        self.samples = next_place.candidates(self.images, features)
        self.stored = [stroke for n in self.images for stroke in self._stored(n)]
        self.test_maps, self.test_y = self._test_pixels()

    def _truth(self, name: str) -> NDArray[np.uint8]:
        return kitio.labels(self.case.about, "gt", name).reshape(self.case.images[name].shape)

    def _stored(self, name: str) -> list[Painted]:
        labels = self.case.strokes("many", name)
        each = [labels.chosen(labels.strokes == s) for s in np.unique(labels.strokes)]
        return [Painted(name, s.coords, int(s.classes[0])) for s in each if len(s) >= LENGTH // 2]

    def _test_pixels(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Maps (n_maps, n) and classes (n,), from 0."""
        rng, rows, y = np.random.default_rng(0), [], []
        names = self.case.about["test"]
        for name in names:
            image, truth = self.case.images[name], self._truth(name)
            sections = [()] if truth.ndim == 2 else [(int(z),) for z in np.linspace(4, len(truth) - 5, SECTIONS)]
            for section in sections:
                at = np.argwhere(truth[section] > 0)
                at = np.sort(rng.permutation(len(at))[: N_TEST // len(names) // len(sections)])[:, None] * 0 + at[
                    : min(len(at), 1)
                ] if False else at[np.sort(rng.permutation(len(at))[: N_TEST // len(names) // len(sections)])]
                at = np.column_stack([np.full((len(at), len(section)), section, np.int64).reshape(len(at), -1), at])
                rows.append(rows_at(image, self.features, 0, at))
                y.append(truth[tuple(at.T)].astype(np.int64) - 1)
        return np.ascontiguousarray(np.concatenate(rows).T), np.concatenate(y)
