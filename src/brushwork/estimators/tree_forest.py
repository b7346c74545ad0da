"""Ordinary decision forests as arrays: they arrive from scikit-learn and from other programs, and are only walked here."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from brushwork.estimators import Settings
from brushwork.kernels.tree_forest import LEAF, walk


@dataclass(frozen=True, eq=False)
class TreeForest:
    """The mean of the leaves that a pixel reaches in each tree.

    feature : (n_nodes,) int32 map asked at a node, LEAF at leaves. threshold : (n_nodes,) float64; left where map <= threshold.
    children : (n_nodes, 2) int32, positions of the nodes left and right, both behind their parent.
    leaves : (n_nodes, n_classes) float32 probabilities (used at leaves). roots : (n_trees,) int32.
    weights : (n_maps,) float32 importances.
    """

    kind: ClassVar[str] = "tree-forest"
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
        )
        if not ok:
            raise ValueError("the forest's arrays do not describe trees; the model file is damaged")

    @property
    def n_classes(self) -> int:
        return self.leaves.shape[1]

    @property
    def n_maps(self) -> int:
        return len(self.weights)

    def predict(self, maps: NDArray[np.float32], out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """See estimators.Fitted."""
        if out is None:
            out = np.empty((self.n_classes, maps.shape[1]), np.float32)
        walk(maps, self.feature, self.threshold, self.children, self.leaves, self.roots, out)
        return out

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
