"""Labels of other programs in the window: every value is decided before anything is painted."""

import numpy as np
import pytest

from brushwork.errors import InputError
from brushwork.image import as_image
from brushwork.io import write_labels
from brushwork.labels import from_array
from brushwork.napari.importing import ImportDialog

SHAPE = (60, 80)
NAMES = {1: "background", 2: "Tumor", 3: "dirt"}


@pytest.fixture
def painted():
    """A label image of three classes."""
    values = np.zeros(SHAPE, np.uint8)
    values[5:9], values[20:30, 10:40], values[50, 3:6] = 1, 2, 3
    return values


@pytest.fixture
def window(open_window, tmp_path):
    np.save(tmp_path / "cells.npy", np.random.default_rng(0).integers(0, 255, SHAPE, np.uint8))
    return open_window(tmp_path / "study.brushwork", [tmp_path / "cells.npy"])


def saved(tmp_path, values, name):
    image = as_image(np.zeros(values.shape, np.uint8))
    return str(write_labels(from_array(values), image, tmp_path / name, names=NAMES))


def choose(dialog, value, name):
    box = dialog.boxes[value]
    box.setCurrentIndex(box.findText(name))
    box.activated.emit(box.currentIndex())


@pytest.mark.parametrize("name", ["labels.tif", "labels.h5", "labels.nii.gz", "labels.geojson"])
def test_every_value_is_decided_before_anything_is_painted(window, painted, tmp_path, name):
    bench = window.dock.bench
    dialog = ImportDialog(bench, saved(tmp_path, painted, name), window.dock)
    knows_names = name.endswith("geojson")
    assert [box.currentText() == "background" for box in dialog.boxes.values()] == [knows_names, False, False]
    assert not dialog.take.isEnabled()
    assert f"{2 if knows_names else 3} of 3 values have no class yet" in dialog.words.text()
    choose(dialog, 1, "background")
    if knows_names:
        choose(dialog, 2, "new: Tumor")
    else:
        dialog.make(dialog.boxes[2], "Tumor")
        dialog.boxes[2].activated.emit(dialog.boxes[2].currentIndex())
    assert not dialog.take.isEnabled()
    assert not len(bench.labels())
    choose(dialog, 3, "leave out")
    assert dialog.take.isEnabled()
    dialog.take.click()
    assert dialog.result(), dialog.words.text()
    ids = {c.name: c.id for c in bench.classes}
    there = np.zeros(SHAPE, np.uint8)
    there[tuple(bench.labels().coords.T)] = bench.labels().classes
    wanted = np.choose(painted, [0, ids["background"], ids["Tumor"], 0])
    np.testing.assert_array_equal(there, wanted)


def test_what_is_wrong_is_told_and_the_dialog_stays(window, painted, tmp_path):
    bench = window.dock.bench
    dialog = ImportDialog(bench, saved(tmp_path, painted[:30, :50], "part.tif"), window.dock)
    for value, name in ((1, "background"), (2, "leave out")):
        choose(dialog, value, name)
    dialog.take.click()
    assert "part.tif are 30 x 50" in dialog.words.text()
    dialog.offset.setText("up")
    dialog.take.click()
    assert "'up' is not a list of whole numbers" in dialog.words.text()
    dialog.offset.setText("10, 20")
    dialog.take.click()
    assert len(bench.labels()) == 4 * 50
    assert bench.labels().coords.min(0).tolist() == [15, 20]


def test_nothing_to_import_is_told(window, tmp_path, monkeypatch):
    from qtpy.QtWidgets import QFileDialog

    np.save(tmp_path / "empty.npy", np.zeros(SHAPE, np.uint8))
    np.save(tmp_path / "numbered.npy", np.arange(60 * 80).reshape(SHAPE))
    with pytest.raises(InputError, match="holds 4,799 values"):
        ImportDialog(window.dock.bench, str(tmp_path / "numbered.npy"))
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *a: (str(tmp_path / "empty.npy"), ""))
    window.dock.strokes_panel.from_file.click()
    assert "empty.npy holds nothing that is painted" in window.dock.message.text()
