"""Probabilities as pictures of bytes."""

import numpy as np

from brushwork.kernels.compile import kernel


@kernel
def draw(probabilities, ids, segmentation, uncertainty, scaled):
    """Per pixel: the likeliest class (of several, the first), 255 x (1 - lead over the second), and 255 x every probability.

    probabilities : (n_classes, n) float32, n_classes at least 2. ids : (n_classes,) uint8. segmentation, uncertainty : (n,) uint8.
    scaled : (n_classes, n) uint8.
    """
    for p in range(probabilities.shape[1]):
        best, first, second = 0, np.float32(-1), np.float32(-1)
        for c in range(probabilities.shape[0]):
            value = probabilities[c, p]
            scaled[c, p] = np.uint8(np.rint(value * np.float32(255)))
            if value > first:
                best, first, second = c, value, first
            elif value > second:
                second = value
        segmentation[p] = ids[best]
        uncertainty[p] = np.uint8(np.rint((np.float32(1) - (first - second)) * np.float32(255)))
