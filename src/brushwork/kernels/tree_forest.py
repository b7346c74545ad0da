"""Walking ordinary decision trees, one pixel after the other."""

from brushwork.kernels.compile import kernel

LEAF = -1


@kernel
def walk(maps, feature, threshold, children, leaves, roots, out):
    """out[c, p] = mean over trees of leaves[leaf that pixel p reaches, c].

    maps : (n_maps, n). The other arrays: see estimators.tree_forest. Nothing is checked.
    """
    n_trees = len(roots)
    for p in range(maps.shape[1]):
        for c in range(leaves.shape[1]):
            out[c, p] = 0
        for root in roots:
            node = root
            while feature[node] != LEAF:
                node = children[node, 0 if maps[feature[node], p] <= threshold[node] else 1]
            for c in range(leaves.shape[1]):
                out[c, p] += leaves[node, c]
        for c in range(leaves.shape[1]):
            out[c, p] /= n_trees
