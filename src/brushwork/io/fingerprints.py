"""Short names for what images hold, so that labels and unfinished runs find their image again and no other."""

import hashlib

import numpy as np

from brushwork.blocks import Region, grid, whole
from brushwork.image import Image

SAMPLE_EDGE = 32  # pixels; boxes that a fingerprint reads
PIECE_EDGE = {2: 1024, 3: 128}  # pixels; boxes in which images are compared
MOST_PIECES = 64


def fingerprint(image: Image) -> str:
    """A short name for an image's content: shape, type and the pixels of a few small boxes."""
    digest = hashlib.sha256(repr((image.shape, image.n_frames, str(image.dtype), image.channel_names)).encode())
    for t in {0, image.n_frames - 1}:
        for part in (0.0, 0.5, 1.0):
            start = tuple(int(part * max(n - SAMPLE_EDGE, 0)) for n in image.shape)
            stop = tuple(min(s + SAMPLE_EDGE, n) for s, n in zip(start, image.shape))
            digest.update(image.read(Region(start, stop, t)).tobytes())
    return digest.hexdigest()[:32]


def same_pixels(a: Image, b: Image) -> bool:
    """Whether two images of one fingerprint are the same in (at most) 64 boxes spread over them.

    Images with little in them may share the few boxes that a fingerprint reads.
    """
    pieces = [r for t in range(a.n_frames) for r in grid(whole(a.shape, t), [PIECE_EDGE[len(a.shape)]] * len(a.shape))]
    for i in np.unique(np.linspace(0, len(pieces) - 1, MOST_PIECES).astype(int)):
        if not np.array_equal(a.read(pieces[i]), b.read(pieces[i]), equal_nan=True):
            return False
    return True
