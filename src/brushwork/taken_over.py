"""What becomes strokes without a hand: a prediction."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from brushwork.blocks import Region
from brushwork.document import PaintClass
from brushwork.image import Image
from brushwork.labels import Labels


def of_prediction(
    ids: NDArray[np.uint8], region: Region, image: Image, classes: Sequence[PaintClass], painted: Iterable[Labels]
) -> list[tuple[NDArray[np.int64], int]]:
    """One stroke, (coords, class id), per class of what is predicted in a region; painted pixels stay as they are.

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
