"""Small regions of a segmentation: how many are left, and how long it takes, beside what is common.

    python -m benchmarks.smoothing [--min-region 20]

The segmentation is a prediction of c1 (512 x 1024, 3 classes). Beside ours stand PalmettoBUG's rule (regions under the limit
are dropped; a dropped pixel takes the mode of the original pixels in the 3 x 3 around it), the same rule repeated until nothing
changes, and scikit-image's remove_small_objects per class, dropped pixels given to the nearest class. Regions are 8-connected.
"""

import argparse
import time

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, label
from skimage.morphology import remove_small_objects

import brushwork as bw
from benchmarks.accuracy import DATA
from brushwork.blocks import whole
from brushwork.image import as_image
from brushwork.smoothing import Smoothing, smoothed

EIGHT = np.ones((3, 3))


def predicted() -> NDArray[np.uint8]:
    """A segmentation of the test image of c1, with classes 1 to 3."""
    folder = DATA / "c1_mibi_41ch"
    image = bw.open_image(folder / "img/train", axes="cyx")
    labels = bw.open_labels(folder / "scrib/few/train.tif", image)
    model = bw.train([(image, labels)], "fast", classes=["empty", "stroma", "epithelium"])
    test = bw.open_image(folder / "img/test", axes="cyx")
    return (model.predict_array(test.read(whole(test.shape)), axes="cyx").argmax(0) + 1).astype(np.uint8)


def small_regions(classes: NDArray, limit: int) -> int:
    """Regions under the limit."""
    labelled = [label(classes == c, EIGHT)[0] for c in np.unique(classes)]
    return sum(int((np.bincount(labels.ravel())[1:] < limit).sum()) for labels in labelled)


def dropped(classes: NDArray, limit: int) -> NDArray[np.bool_]:
    """Pixels of regions under the limit."""
    kept = [remove_small_objects(classes == c, max_size=limit - 1, connectivity=2) for c in np.unique(classes)]
    return ~np.any(kept, axis=0)


def by_mode(classes: NDArray, limit: int) -> NDArray:
    """PalmettoBUG's rule with its defaults, ties to the lower class."""
    padded = np.pad(classes, 1)
    votes = np.zeros((classes.max() + 1, *classes.shape), np.int64)
    for dy in range(3):
        for dx in range(3):
            near = padded[dy : dy + classes.shape[0], dx : dx + classes.shape[1]]
            for c in range(1, len(votes)):
                votes[c] += near == c
    return np.where(dropped(classes, limit), votes.argmax(0), classes)


def by_mode_repeated(classes: NDArray, limit: int) -> NDArray:
    while True:
        new = by_mode(classes, limit)
        if (new == classes).all():
            return classes
        classes = new


def by_nearest(classes: NDArray, limit: int) -> NDArray:
    _, near = distance_transform_edt(dropped(classes, limit), return_indices=True)
    return classes[tuple(near)]


def ours(classes: NDArray, limit: int) -> NDArray:
    return smoothed(as_image(classes), Smoothing(limit, 8)).draw(whole(classes.shape))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--min-region", type=int, default=20)
    limit = parser.parse_args().min_region
    classes = predicted()
    ours(classes, limit)  # machine code
    print(f"{'before':>36}: {small_regions(classes, limit):5} regions under {limit} pixels")
    left = []
    for method in (by_mode, by_mode_repeated, by_nearest, ours):
        began = time.perf_counter()
        result = method(classes, limit)
        seconds = time.perf_counter() - began
        left.append(small_regions(result, limit))
        name = method.__name__.replace("_", " ")
        print(f"{name:>36}: {left[-1]:5} left, {(result != classes).sum():6,} pixels changed, {seconds * 1e3:7.1f} ms")
    print("PASS" if left[-1] == 0 else "FAIL", "- ours leaves none")


if __name__ == "__main__":
    main()
