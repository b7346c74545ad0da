"""Random forests as vigra writes them into HDF5, and the same forests as arrays.

A tree is two arrays. `topology` begins with the numbers of maps and classes; from position 2 on follow nodes: a question is
(0, where its parameters are, child left, child right, map), a leaf is (LEAF_NODE, where its parameters are); children are
positions in `topology`, behind their parent. `parameters` holds weight and threshold of a question, weight and one number per
class of a leaf. A pixel goes left where its value is below the threshold.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from brushwork.estimators.tree_forest import TreeForest, VigraForest
from brushwork.interchange.guarded_hdf5 import Refused, array, names, need, subgroup
from brushwork.kernels.tree_forest import LEAF

QUESTION, LEAF_NODE = 0, 0x40000000
FIRST_NODE = 2
MOST_NODES = 20_000_000  # of a forest's trees
DEEPEST = 10_000  # levels


class VigraTree(NamedTuple):
    """topology : int32. parameters : float64."""

    topology: NDArray[np.int32]
    parameters: NDArray[np.float64]


class StoredForest(NamedTuple):
    """One forest group. n_maps, n_classes : what its trees were grown on.

    class_weights : what the shares in leaves were multiplied with, per class; vigra divides by the sum over all classes.
    """

    n_maps: int
    n_classes: int
    trees: tuple[VigraTree, ...]
    class_weights: tuple[float, ...] = ()


class _Nodes(NamedTuple):
    feature: NDArray[np.int32]
    threshold: NDArray[np.float64]
    children: NDArray[np.int32]
    leaves: NDArray[np.float32]


def read_forest(group: Any) -> StoredForest:
    """The forest in an HDF5 group. Raises Refused where it is damaged, or votes in a way that ilastik's never do."""
    facts = need(subgroup(group, "_ext_param"), group, "_ext_param")
    n_maps, n_classes = (_number(facts, name) for name in ("column_count_", "class_count_"))
    options = subgroup(group, "_options")
    if options is not None and (weighted := array(options, "predict_weighted_")) is not None and weighted.any():
        raise Refused(f"{group.name} weights its leaves, which ilastik's forests do not")
    trees = []
    for name in names(group):
        if name.startswith("Tree_"):
            tree = need(subgroup(group, name), group, name)
            topology, parameters = need(array(tree, "topology", "iu"), tree, "topology"), array(tree, "parameters", "f")
            trees.append(VigraTree(topology.astype(np.int32), need(parameters, tree, "parameters").astype(float)))
    if not trees:
        raise Refused(f"{group.name} holds no trees")
    if sum(len(tree.topology) for tree in trees) > MOST_NODES:
        raise Refused(f"{group.name} holds more nodes than can be meant")
    return StoredForest(n_maps, n_classes, tuple(trees), _class_weights(facts, n_classes))


def _class_weights(facts: Any, n_classes: int) -> tuple[float, ...]:
    """Empty where all are 1, as ilastik's own are."""
    weights = array(facts, "class_weights_", "f")
    if weights is None or (weights == 1).all():
        return ()
    if weights.shape != (n_classes,) or not ((weights > 0) & (weights <= 1)).all():
        raise Refused(f"{facts.name}/class_weights_ is {weights.ravel()[:5].tolist()}")
    return tuple(weights.tolist())


def _number(group: Any, name: str) -> int:
    value = need(array(group, name), group, name)
    if value.size != 1 or not 1 <= value.flat[0] <= 1_000_000:
        raise Refused(f"{group.name}/{name} is {value.ravel()[:3].tolist()}")
    return int(value.flat[0])


def from_vigra(forests: tuple[StoredForest, ...], columns: NDArray[np.integer], n_classes: int) -> VigraForest:
    """The estimator that votes as ilastik does with these forests, before classes are weighted.

    columns : (n_classes of the forests,) the class, from 0, that each column of their votes belongs to; the others get 0.
    Importances, which ilastik does not store, are each map's share of the questions.
    """
    n_maps = forests[0].n_maps
    if any((f.n_maps, f.n_classes) != (n_maps, len(columns)) for f in forests):
        raise Refused("its forests differ in the number of maps or classes")
    if len(set(columns.tolist())) < len(columns) or not ((columns >= 0) & (columns < n_classes)).all():
        raise Refused(f"its forest votes for the labels {(columns + 1).tolist()}, the project has {n_classes}")
    weights = forests[0].class_weights
    if any(f.class_weights for f in forests) and len(forests) > 1:
        raise Refused("it weights classes in several forests, which ilastik's do not")
    trees = [_nodes(tree, n_maps, len(columns), weights) for forest in forests for tree in forest.trees]
    sizes = [len(tree.feature) for tree in trees]
    roots = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int32)
    feature = np.concatenate([tree.feature for tree in trees])
    inner = feature != LEAF
    children = np.concatenate([tree.children for tree in trees]) + np.repeat(roots, sizes)[:, None]
    leaves = np.zeros((len(feature), n_classes), np.float32)
    leaves[:, columns] = np.concatenate([tree.leaves for tree in trees])
    questions = np.bincount(feature[inner], minlength=n_maps).astype(np.float32)
    try:
        return VigraForest(
            feature=feature,
            threshold=np.concatenate([tree.threshold for tree in trees]),
            children=np.where(inner[:, None], children, 0).astype(np.int32),
            leaves=leaves,
            roots=roots,
            weights=questions / max(questions.sum(), 1),
            forests=np.array([len(forest.trees) for forest in forests], np.int32),
        )
    except ValueError:
        raise Refused("its forest's arrays do not describe trees") from None


def _nodes(tree: VigraTree, n_maps: int, n_classes: int, class_weights: tuple[float, ...]) -> _Nodes:
    """One tree, its nodes in the order of `topology`."""
    topology, parameters = tree
    if len(topology) < FIRST_NODE + 2 or tuple(topology[:FIRST_NODE]) != (n_maps, n_classes):
        raise Refused("a tree of its forest does not begin as trees of vigra do")
    at = _positions(topology)
    kinds, parameter = topology[at], topology[at + 1].astype(np.int64)
    inner, ends = kinds == QUESTION, kinds == LEAF_NODE
    if not (inner | ends).all():
        raise Refused("a tree of its forest has nodes that ilastik's forests do not have")
    width = np.where(inner, 2, 1 + n_classes)
    if (parameter < 0).any() or (parameter + width > len(parameters)).any():
        raise Refused("a tree of its forest leads out of its arrays")
    feature, threshold = np.full(len(at), LEAF, np.int32), np.zeros(len(at))
    children = np.zeros((len(at), 2), np.int32)
    leaves = np.zeros((len(at), n_classes), np.float32)
    feature[inner] = topology[at[inner] + 4]
    if (feature[inner] < 0).any() or (feature[inner] >= n_maps).any():
        raise Refused(f"a tree of its forest asks for maps that are not among its {n_maps}")
    # below t, for numbers of either precision, is: not above the number before t
    threshold[inner] = np.nextafter(parameters[parameter[inner] + 1], -np.inf)
    children[inner] = np.searchsorted(at, topology[at[inner][:, None] + [2, 3]])
    votes = parameters[parameter[ends, None] + 1 + np.arange(n_classes)] / (class_weights or 1)
    if not (np.abs(votes.sum(1) - 1) < 1e-6).all() or (votes < 0).any():
        raise Refused("a leaf of its forest does not hold shares that sum to 1")
    leaves[ends] = votes
    return _Nodes(feature, threshold, children, leaves)


def _positions(topology: NDArray[np.int32]) -> NDArray[np.int64]:
    """Where the nodes begin that a walk from the root can reach, ascending."""
    levels: list[NDArray[np.int64]] = []
    here, n_found = np.array([FIRST_NODE]), 0
    while len(here):
        n_found += len(here)
        if (here < FIRST_NODE).any() or (here + 1 >= len(topology)).any():
            raise Refused("a tree of its forest leads out of its arrays")
        if n_found > len(topology) or len(levels) > DEEPEST:
            raise Refused("a tree of its forest leads round in circles")
        levels.append(here)
        here = here[topology[here] == QUESTION]
        if (here + 4 >= len(topology)).any():
            raise Refused("a tree of its forest leads out of its arrays")
        here = topology[here[:, None] + [2, 3]].astype(np.int64).ravel()
    return np.sort(np.concatenate(levels))


def to_vigra(forest: TreeForest) -> tuple[VigraTree, ...]:
    """The trees of any forest in vigra's layout, one pair of arrays each, in order; the inverse of `from_vigra`."""
    return tuple(_tree(forest, int(root)) for root in forest.roots)


def _tree(forest: TreeForest, root: int) -> VigraTree:
    nodes, here = [], np.array([root])
    while len(here):
        nodes.append(here)
        here = forest.children[here[forest.feature[here] != LEAF]].ravel()
    order = np.sort(np.concatenate(nodes))
    inner = forest.feature[order] != LEAF
    lengths, widths = np.where(inner, 5, 2), np.where(inner, 2, 1 + forest.n_classes)
    at = FIRST_NODE + np.concatenate([[0], np.cumsum(lengths)])
    parameter = np.concatenate([[0], np.cumsum(widths)])
    topology = np.zeros(at[-1], np.int32)
    parameters = np.ones(parameter[-1])
    topology[:FIRST_NODE] = forest.n_maps, forest.n_classes
    questions, ends = at[:-1][inner], at[:-1][~inner]
    topology[at[:-1] + 1] = parameter[:-1]
    topology[ends] = LEAF_NODE
    topology[questions[:, None] + [2, 3]] = at[np.searchsorted(order, forest.children[order[inner]])]
    topology[questions + 4] = forest.feature[order[inner]]
    parameters[parameter[:-1][inner] + 1] = np.nextafter(forest.threshold[order[inner]], np.inf)
    parameters[parameter[:-1][~inner, None] + 1 + np.arange(forest.n_classes)] = forest.leaves[order[~inner]]
    return VigraTree(topology, parameters)
