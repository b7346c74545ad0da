"""What becomes strokes without a hand: a prediction, or labels from a file. Each stroke is (coords, class id)."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from brushwork.blocks import Region
from brushwork.document import PaintClass
from brushwork.errors import InputError
from brushwork.image import Image
from brushwork.io import open_labels
from brushwork.labels import Labels

Ready = list[tuple[NDArray[np.int64], int]]


def of_prediction(
    ids: NDArray[np.uint8], region: Region, image: Image, classes: Sequence[PaintClass], painted: Iterable[Labels]
) -> Ready:
    """One stroke per class of what is predicted in a region; pixels that are painted already stay as they are.

    ids : (*region.shape) predicted class ids, 0 where nothing is known.
    """
    free = np.isin(ids, [c.id for c in classes])
    for labels in painted:
        free[tuple((labels.inside(region).positions - region.start).T)] = False
    taken = []
    for class_id in np.unique(ids[free]).tolist():
        coords = np.argwhere(free & (ids == class_id)) + region.start
        if image.n_frames > 1:
            coords = np.column_stack([np.full(len(coords), region.t), coords])
        taken.append((coords, class_id))
    return taken


def of_labels(
    uri: str,
    image: Image,
    classes: Sequence[PaintClass],
    *,
    mapping: Mapping[int, int] | None = None,
    offset: Sequence[int] | None = None,
) -> Ready:
    """The strokes of a label image.

    mapping : value in the file -> class id, 0 to leave it out; without it values are class ids, and 0 is unpainted.
    offset : where the first pixel of a smaller label image lies; without it both have the same shape.
    Raises InputError where a value belongs to no class.
    """
    found = open_labels(uri, image, mapping=mapping, offset=offset)
    absent = sorted(set(np.unique(found.classes).tolist()) - {c.id for c in classes})
    if absent:
        names = ", ".join(f"{c.id} ({c.name})" for c in classes)
        raise InputError(
            f"the labels {absent} belong to no class; map them to one of {names}, or to 0 to leave them out"
        )
    order = np.argsort(found.strokes, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(found.strokes[order])) + 1) if len(order) else []
    return [(found.coords[part], int(found.classes[part[0]])) for part in parts]
