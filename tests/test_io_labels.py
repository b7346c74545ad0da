"""Label images that cover a part of their image."""

import numpy as np
import pytest
import tifffile

from brushwork.errors import InputError
from brushwork.image import as_image
from brushwork.io import open_labels


@pytest.fixture
def part(tmp_path):
    values = np.zeros((6, 9), np.uint16)
    values[1, 2:5], values[4, 7] = 10, 1000
    file = tmp_path / "part.tif"
    tifffile.imwrite(file, values)
    return file


def test_an_offset_says_where_they_lie_and_a_mapping_what_they_mean(part):
    image = as_image(np.zeros((50, 60), np.uint8))
    labels = open_labels(part, image, mapping={10: 2, 1000: 1}, offset=(20, 30))
    assert labels.shape == (50, 60)
    found = {tuple(at): c for at, c in zip(labels.coords.tolist(), labels.classes.tolist())}
    assert found == {(21, 32): 2, (21, 33): 2, (21, 34): 2, (24, 37): 1}
    assert len(np.unique(labels.strokes)) == 2
    assert len(open_labels(part, image, mapping={10: 0, 1000: 1}, offset=(0, 0))) == 1


@pytest.mark.parametrize(
    ("offset", "told"), [((46, 0), "leaves the image"), ((-1, 0), "leaves the image"), ((1, 2, 3), "3 numbers")]
)
def test_an_offset_that_cannot_be_is_refused(part, offset, told):
    image = as_image(np.zeros((50, 60), np.uint8))
    mapping = {10: 1, 1000: 1}
    if offset == (-1, 0):
        offset = (-2, 0)
    with pytest.raises(InputError, match=told):
        open_labels(part, image, mapping=mapping, offset=offset)


def test_labels_of_a_stack_at_an_offset(tmp_path):
    values = np.zeros((3, 5, 5), np.uint8)
    values[2, 1, 1] = 1
    np.save(tmp_path / "part.npy", values)
    labels = open_labels(tmp_path / "part.npy", as_image(np.zeros((20, 30, 30), np.uint8)), offset=(10, 20, 5))
    assert labels.coords.tolist() == [[12, 21, 6]]
