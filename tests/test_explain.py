"""Why a pixel is predicted as it is."""

import numpy as np
import pytest

from brushwork.explain import explain
from brushwork.image import as_image
from brushwork.labels import from_coords
from brushwork.training import fit, prepare

EDGE = 96


def squares(rng):
    """Dark, grey and bright thirds, with noise."""
    columns = np.repeat([20.0, 100.0, 180.0], EDGE // 3)
    return (columns + rng.normal(0, 3, (EDGE, EDGE))).clip(0, 255).astype(np.uint8)


def painted(image):
    """Three short strokes in the dark third (class 1), two in the bright one (class 2); nothing in the grey one."""
    rows = [(10, 8, 1), (40, 8, 1), (70, 8, 1), (20, 80, 2), (60, 80, 2)]
    coords = np.array([(y, x + k) for y, x, _ in rows for k in range(8)])
    return from_coords(coords, np.repeat([c for *_, c in rows], 8), image.shape)


@pytest.fixture(scope="module")
def learnt():
    rng = np.random.default_rng(0)
    image = as_image(squares(rng))
    examples = [(as_image(squares(rng)), painted(image)), (image, painted(image))]
    prepared = prepare(examples, "gaussian:0.7,1", classes=("dark", "bright"))
    return image, examples, prepared.table, fit(prepared)


def test_a_pixel_like_a_stroke_is_explained_by_strokes_of_that_class(learnt):
    image, examples, table, model = learnt
    found = explain(model, image, (41, 12), examples, table)
    assert [name for name, _ in found.probabilities] == ["dark", "bright"]
    assert sum(p for _, p in found.probabilities) == pytest.approx(1)
    assert [a.class_name for a in found.alike] == ["dark"] * 3
    assert not found.is_unlike


def test_the_pixels_that_it_names_are_painted_so_and_of_different_strokes(learnt):
    image, examples, table, model = learnt
    found = explain(model, image, (30, 85), examples, table)
    at = [(a.example, a.at) for a in found.alike]
    assert len(set(at)) == 3
    seen = set()
    for alike in found.alike:
        labels = examples[alike.example][1]
        mine = (labels.coords == alike.at).all(1)
        assert mine.sum() == 1
        assert model.classes[labels.classes[mine][0] - 1] == alike.class_name
        seen.add((alike.example, int(labels.strokes[mine][0])))
    assert len(seen) == 3


def test_a_painted_pixel_is_the_likest_to_itself(learnt):
    image, examples, table, model = learnt
    likest = explain(model, image, (60, 83), examples, table).alike[0]
    assert (likest.example, likest.at) == (1, (60, 83))


def test_what_looks_like_no_stroke_is_told(learnt):
    image, examples, table, model = learnt
    assert explain(model, image, (50, 48), examples, table).is_unlike


def test_time_is_part_of_the_position():
    rng = np.random.default_rng(0)
    image = as_image(np.stack([squares(rng), squares(rng)]), axes="tyx")
    flat = painted(as_image(squares(rng)))
    coords = np.column_stack([np.ones(len(flat), int), flat.coords])
    examples = [(image, from_coords(coords, flat.classes, image.shape))]
    prepared = prepare(examples, "gaussian:0.7", classes=("dark", "bright"))
    found = explain(fit(prepared), image, (0, 20, 82), examples, prepared.table)
    assert found.alike[0].class_name == "bright"
    assert all(a.at[0] == 1 for a in found.alike)
