"""Ordinary decision forests as arrays: they arrive from scikit-learn and from other programs, and are only walked here."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from brushwork.estimators import Settings
from brushwork.kernels.sets256 import PIXELS
from brushwork.kernels.tree_forest import LEAF, TREES, UNREAD, predict

PATCH_WIDTHS = (16, 32, 64, 128, 256)  # of 256 pixels; the squarer, the fewer nodes they visit


class _Plan(NamedTuple):
    """The forest as kernels.tree_forest.predict takes it."""

    feature: NDArray[np.int32]
    threshold: NDArray[np.float32]
    children: NDArray[np.int32]
    codes: NDArray[np.int32]
    roots: NDArray[np.int32]
    first_leaf: NDArray[np.int32]
    leaves: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class TreeForest:
    """The mean of the leaves that a pixel reaches in each tree.

    feature : (n_nodes,) int32 map asked at a node, LEAF at leaves. threshold : (n_nodes,) float64; left where map <= threshold.
    children : (n_nodes, 2) int32, positions of the nodes left and right, both behind their parent.
    leaves : (n_nodes, n_classes) float32 probabilities (used at leaves). roots : (n_trees,) int32.
    weights : (n_maps,) float32 importances.
    """

    kind: ClassVar[str] = "tree-forest"
    takes_width: ClassVar[bool] = True
    feature: NDArray[np.int32]
    threshold: NDArray[np.float64]
    children: NDArray[np.int32]
    leaves: NDArray[np.float32]
    roots: NDArray[np.int32]
    weights: NDArray[np.float32]

    def __post_init__(self) -> None:
        n = len(self.feature)
        inner = self.feature != LEAF
        position = np.arange(n)[:, None]
        ok = (
            self.threshold.shape == (n,)
            and self.children.shape == (n, 2)
            and self.leaves.ndim == 2
            and len(self.leaves) == n
            and len(self.roots) > 0
            and ((self.roots >= 0) & (self.roots < n)).all()
            and (self.feature[inner] < self.n_maps).all()
            and (self.feature[inner] >= 0).all()
            and ((self.children > position) & (self.children < n))[inner].all()  # every walk ends
            and np.bincount(np.concatenate([self.children[inner].ravel(), self.roots])).max() == 1  # no way leads back
        )
        if not ok:
            raise ValueError("the forest's arrays do not describe trees; the model file is damaged")

    @property
    def n_classes(self) -> int:
        return self.leaves.shape[1]

    @property
    def n_maps(self) -> int:
        return len(self.weights)

    @property
    def _sizes(self) -> NDArray[np.int32]:
        """Trees of each forest whose mean is rounded first; empty for one mean of all."""
        return np.zeros(0, np.int32)

    def predict(
        self, maps: NDArray[np.float32], out: NDArray[np.float32] | None = None, *, width: int | None = None
    ) -> NDArray[np.float32]:
        """See estimators.Fitted. width : pixels in a row of the tile that the maps are of; neighbours are quicker together."""
        n = maps.shape[1]
        if out is None:
            out = np.empty((self.n_classes, n), np.float32)
        width = n if width is None or width <= 0 or n % width else width
        patch_width = next((w for w in PATCH_WIDTHS if w <= width and PIXELS // w * width <= n), None)
        if patch_width is not None:
            predict(maps, width, patch_width, *self._plan, self._sizes, out)
        elif n > 0:
            few = -(-n // PIXELS) * PIXELS
            widened = np.empty((self.n_classes, few), np.float32)
            predict(np.pad(maps, ((0, 0), (0, few - n))), few, PIXELS, *self._plan, self._sizes, widened)
            out[:] = widened[:, :n]
        return out

    @cached_property
    def _plan(self) -> _Plan:
        inner = self.feature != LEAF
        tree = self._tree_of_nodes()
        ends = np.flatnonzero(~inner & (tree >= 0))
        rows = np.concatenate([tree[ends, None].astype(np.float32), self.leaves[ends]], axis=1)
        values, number = np.unique(rows, axis=0, return_inverse=True)
        first_leaf = np.searchsorted(values[:, 0], np.arange(len(self.roots) + 1)).astype(np.int32)
        group = np.arange(len(self.roots)) // TREES * TREES
        n_codes = np.diff(first_leaf[[*range(0, len(self.roots), TREES), len(self.roots)]]).max()
        code = np.full(len(inner), n_codes, np.int32) + np.arange(len(inner), dtype=np.int32) % UNREAD
        code[ends] = number.reshape(-1) - first_leaf[group[tree[ends]]]
        # A tree that is a single leaf becomes a node with that leaf on both sides.
        single = self.roots[~inner[self.roots]]
        asking = np.concatenate([np.flatnonzero(inner), single])
        position = np.full(len(inner), LEAF, np.int32)
        position[asking] = np.arange(len(asking))
        sides = np.concatenate([self.children[inner], np.repeat(single[:, None], 2, axis=1)])
        return _Plan(
            feature=np.maximum(self.feature[asking], 0),
            threshold=_rounded_down(self.threshold[asking]),
            children=np.where(inner[sides], position[sides], LEAF).astype(np.int32),
            codes=code[sides],
            roots=position[self.roots],
            first_leaf=first_leaf,
            leaves=np.ascontiguousarray(values[:, 1:]),
        )

    def _tree_of_nodes(self) -> NDArray[np.int64]:
        """(n_nodes,): the tree a node belongs to, -1 where no walk comes by."""
        tree = np.full(len(self.feature), -1, np.int64)
        tree[self.roots] = np.arange(len(self.roots))
        nodes = np.asarray(self.roots)
        while len(nodes):
            nodes = nodes[self.feature[nodes] != LEAF]
            below = self.children[nodes]
            tree[below] = tree[nodes, None]
            nodes = below.ravel()
        return tree

    def arrays(self) -> dict[str, NDArray[Any]]:
        names = ("feature", "threshold", "children", "leaves", "roots", "weights")
        return {name: getattr(self, name) for name in names}

    def settings(self) -> Settings:
        return {}

    @classmethod
    def restore(cls, arrays: dict[str, NDArray[Any]], settings: Settings) -> Self:
        try:
            return cls(**arrays)
        except TypeError:
            raise ValueError(
                f"a tree forest is not made of the arrays {sorted(arrays)}; the model file is damaged"
            ) from None

    def importances(self) -> NDArray[np.float32]:
        return self.weights


@dataclass(frozen=True, eq=False)
class VigraForest(TreeForest):
    """Several forests of vigra, as ilastik stores them: each forest's mean is rounded to float32, then their mean is taken.

    forests : (n_forests,) int32, trees of each. A pixel with NaN in its maps gets 0 for every class.
    """

    kind: ClassVar[str] = "vigra-forest"
    forests: NDArray[np.int32] = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.forests.ndim != 1 or not (self.forests > 0).all() or self.forests.sum() != len(self.roots):
            raise ValueError("the forests do not add up to the trees; the model file is damaged")

    @property
    def _sizes(self) -> NDArray[np.int32]:
        return self.forests

    def predict(
        self, maps: NDArray[np.float32], out: NDArray[np.float32] | None = None, *, width: int | None = None
    ) -> NDArray[np.float32]:
        """See TreeForest."""
        out = super().predict(maps, out, width=width)
        if maps.shape[1]:
            out[:, np.isnan(maps.min(0))] = 0
        return out

    def arrays(self) -> dict[str, NDArray[Any]]:
        return super().arrays() | {"forests": self.forests}


def _rounded_down(thresholds: NDArray[np.float64]) -> NDArray[np.float32]:
    """The largest float32 not above each: for float32 values the answer to <= stays the same."""
    with np.errstate(over="ignore"):
        near = thresholds.astype(np.float32)
    return np.where(near > thresholds, np.nextafter(near, np.float32(-np.inf)), near)
