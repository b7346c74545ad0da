"""Small images with strokes, for tests."""

import numpy as np

from brushwork.image import as_image
from brushwork.labels import from_array


def two_tone(shape=(60, 80), seed=0, contrast=60.0):
    """(pixels, truth): a bright ball in noise; truth is 1 outside and 2 inside."""
    rng = np.random.default_rng(seed)
    grids = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    inside = sum(g * g for g in grids) < 0.4
    pixels = rng.normal(100, 12, shape) + contrast * inside
    return pixels.astype(np.float32), (inside + 1).astype(np.uint8)


def strokes_on(truth, n=4, length=10, seed=0):
    """A label image with `n` straight strokes per class along the last axis."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(truth.shape, np.uint8)
    for c in np.unique(truth):
        starts = rng.permutation(np.argwhere(truth == c))
        made = 0
        for *at, x in starts:
            run = (*at, slice(x, x + length))
            around = (*(slice(max(a - 2, 0), a + 3) for a in at), slice(max(x - 2, 0), x + length + 2))
            fits = x + length <= truth.shape[-1] and (truth[run] == c).all() and not labels[around].any()
            if fits and made < n:
                labels[run] = c
                made += 1
        assert made == n, f"no room for {n} strokes of class {c}"
    return labels


def example(shape=(60, 80), seed=0, pixel_size=None, **strokes):
    """(image, labels, truth)."""
    pixels, truth = two_tone(shape, seed)
    image = as_image(pixels, pixel_size=pixel_size, uri=f"ball{seed}")
    return image, from_array(strokes_on(truth, seed=seed, **strokes)), truth
