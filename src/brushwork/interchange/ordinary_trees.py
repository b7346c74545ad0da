"""Any forest as ordinary trees, which ask whether a map lies above a number: what other programs can walk."""

import numpy as np
from numpy.typing import NDArray

from brushwork.estimators import Fitted
from brushwork.estimators.symmetric_forest import FittedSymmetricForest, encode_columns
from brushwork.estimators.tree_forest import TreeForest
from brushwork.kernels.forest_predict import LEAF_SUM
from brushwork.kernels.tree_forest import LEAF

CODES = 256
INFINITE = 0x7F800000  # float32 infinity, its bits as a number; floats of one sign are ordered as their bits are


def ordinary_trees(estimator: Fitted) -> TreeForest | None:
    """The same forest as ordinary trees; None for estimators that are no forests.

    A pixel gets the leaves it got before, for every float32 value but NaN; the mean of their probabilities is rounded in
    another place.
    """
    if isinstance(estimator, TreeForest):
        return estimator
    return _expanded(estimator) if isinstance(estimator, FittedSymmetricForest) else None


def _expanded(forest: FittedSymmetricForest) -> TreeForest:
    """Each level's question is repeated at all its nodes; a tree's nodes are numbered level by level.

    Where both sides of a question end in the same leaf, it is not asked: of the trees that strokes give, a hundredth to a tenth of
    the nodes is left.
    """
    n_trees, depth = forest.maps.shape
    first_above = smallest_above(forest.knots)[forest.maps, forest.thresholds]
    is_asked = ~np.isnan(first_above)
    level = np.repeat(np.arange(depth), 1 << np.arange(depth))
    n_inner, n_ends = len(level), 1 << depth
    n_nodes = n_inner + n_ends
    feature = np.full((n_trees, n_nodes), LEAF, np.int32)
    feature[:, :n_inner] = forest.maps[:, level]
    threshold = np.zeros((n_trees, n_nodes))
    limits = np.where(is_asked, first_above, 0).astype(float)
    threshold[:, :n_inner] = np.nextafter(limits, -np.inf)[:, level]
    roots = np.arange(n_trees, dtype=np.int32) * n_nodes
    below = np.zeros((n_nodes, 2), np.int32)
    below[:n_inner] = 2 * np.arange(n_inner)[:, None] + [1, 2]
    children = np.where(below > 0, below + roots[:, None, None], 0)
    leaves = np.zeros((n_trees, n_nodes, forest.n_classes), np.float32)
    leaves[:, n_inner:] = _leaves_in_order(forest, is_asked)
    for d in reversed(range(depth)):
        here = np.arange((1 << d) - 1, (2 << d) - 1)
        left, right = 2 * here + 1, 2 * here + 2
        are_ends = (feature[:, left] == LEAF) & (feature[:, right] == LEAF)
        is_same = are_ends & (leaves[:, left] == leaves[:, right]).all(2)
        feature[:, here] = np.where(is_same, LEAF, feature[:, here])
        leaves[:, here] = np.where(is_same[..., None], leaves[:, left], leaves[:, here])
    return TreeForest(
        feature=feature.ravel(),
        threshold=threshold.ravel(),
        children=children.reshape(-1, 2).astype(np.int32),
        leaves=leaves.reshape(-1, forest.n_classes),
        roots=roots,
        weights=forest.importance,
    )


def _leaves_in_order(forest: FittedSymmetricForest, is_asked: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(n_trees, 2^depth, n_classes): leaves from left to right. A question that no value answers with yes leads left."""
    n_trees, depth = forest.maps.shape
    numbers = np.zeros((n_trees, 1 << depth), np.int64)
    for d in range(depth):
        answer = np.arange(1 << depth) >> (depth - 1 - d) & 1  # the root's question parts the leaves in halves
        numbers |= (answer & is_asked[:, d, None]) << d
    known = np.take_along_axis(forest.leaves, numbers[:, None], axis=2).astype(np.int64)
    shares = np.concatenate([known, LEAF_SUM - known.sum(1, keepdims=True)], axis=1)
    return (shares / LEAF_SUM).astype(np.float32).swapaxes(1, 2)


def smallest_above(knots: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n_maps, 256): the smallest float32 whose code is above 0, 1, 2 ... 255; NaN where none is.

    Codes never fall as values rise, so halving the range between the infinities finds it, with the codes that pixels get.
    knots : (n_maps, 5), see FittedSymmetricForest.
    """
    above = np.arange(CODES)
    low = np.full((len(knots), CODES), -INFINITE, np.int64)
    high = np.full((len(knots), CODES), INFINITE, np.int64)
    reached = encode_columns(_floats(high).T, knots) > above
    while (high - low).max() > 1:
        middle = (low + high) // 2
        is_above = encode_columns(_floats(middle).T, knots) > above
        low, high = np.where(is_above, low, middle), np.where(is_above, middle, high)
    return np.where(reached, _floats(high), np.float32(np.nan))


def _floats(ranks: NDArray[np.int64]) -> NDArray[np.float32]:
    """The float32 numbers in ascending order, 0 in the middle."""
    return np.copysign(np.abs(ranks).astype(np.uint32).view(np.float32), ranks).astype(np.float32)
