"""The nearest label of pixels that have none."""

import numpy as np

from brushwork.kernels.compile import kernel


@kernel
def nearest(labels, squared, offsets, distances, inside, out):
    """Give pixels of `inside` the label of the nearest labelled pixel; of several equally near the lowest.

    labels : (z, y, x) int64. squared : (z, y, x) float64, the squared distance to that pixel, 0 where there is a label.
    offsets : (n, 3) int64, sorted by their squared lengths `distances` (n,) float64, out to the largest that counts.
    inside : (3, 2) int64, the box of pixels that are asked for. out : its shape, int64, written wholly.
    """
    reach = distances[-1] * (1 + 1e-9)
    for z in range(inside[0, 0], inside[0, 1]):
        for y in range(inside[1, 0], inside[1, 1]):
            for x in range(inside[2, 0], inside[2, 1]):
                best = labels[z, y, x]
                if best == 0 and squared[z, y, x] <= reach:
                    limit = squared[z, y, x] * (1 + 1e-9)
                    k = np.searchsorted(distances, squared[z, y, x] * (1 - 1e-9))
                    while k < distances.size and distances[k] <= limit:
                        i, j, m = z + offsets[k, 0], y + offsets[k, 1], x + offsets[k, 2]
                        k += 1
                        if 0 <= i < labels.shape[0] and 0 <= j < labels.shape[1] and 0 <= m < labels.shape[2]:
                            label = labels[i, j, m]
                            if label != 0 and (best == 0 or label < best):
                                best = label
                out[z - inside[0, 0], y - inside[1, 0], x - inside[2, 0]] = best
