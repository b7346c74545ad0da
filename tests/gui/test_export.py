"""Exports from the window: what brushwork predict writes, with progress, cancel and a report."""

import numpy as np
import pytest

from brushwork.io import open_image
from painting import strokes_on, two_tone


@pytest.fixture
def painted(open_window, tmp_path):
    """A window over two images; both classes are painted on the first."""
    files = []
    for seed, name in enumerate("ab"):
        pixels, truth = two_tone((120, 160), seed)
        files.append(tmp_path / f"{name}.npy")
        np.save(files[-1], (pixels * (1 + 4 * seed)).clip(0, 65535).astype(np.uint16))
        if not seed:
            strokes = strokes_on(truth, n=5)
    p = open_window(tmp_path / "study.brushwork", files)
    for class_id in (1, 2):
        p.dock.bench.paint(np.argwhere(strokes == class_id), class_id)
    p.dock.bench.strokes_changed()
    p.until_ready()
    return p


def test_every_image_of_the_project_is_written_as_predict_writes_it(painted, tmp_path):
    p = painted
    p.dock.export()
    dialog = p.dock.export_dialog
    dialog.format.setCurrentText("NumPy")
    dialog.take_all()
    assert dialog.table.rowCount() == 2
    assert dialog.table.item(0, 2).text() == "like the training"
    assert "times brighter" in dialog.table.item(1, 2).text()
    said = []
    dialog.start()
    dialog.export.ended.connect(said.append)
    p.until(lambda: dialog.write.isEnabled(), "the end of the export")
    assert "report.html" in dialog.words.text()
    assert (tmp_path / "study_results" / "report.html").is_file()
    model = p.dock.bench.fresh_model()
    for name in "ab":
        written = np.load(tmp_path / "study_results" / f"{name}_probabilities.npy")
        expected = model.predict_array(np.load(tmp_path / f"{name}.npy"))
        np.testing.assert_array_equal(written, np.rint(expected * 255).astype(np.uint8))
    dialog.show_images()
    assert "there already" in dialog.table.item(0, 3).text()
    dialog.grab().save(str(tmp_path / "export.png"))
    dialog.close()


def test_cancelling_leaves_nothing_that_looks_finished(painted, tmp_path):
    p = painted
    p.dock.export()
    dialog = p.dock.export_dialog
    dialog.start()
    dialog.export.cancel()
    p.until(lambda: dialog.write.isEnabled(), "the end of the export")
    assert not (tmp_path / "study_results" / "a_probabilities.ome.zarr").exists()
    dialog.start()
    p.until(lambda: dialog.write.isEnabled(), "the end of the export")
    assert open_image(tmp_path / "study_results" / "a_probabilities.ome.zarr").shape == (120, 160)
    dialog.close()


def test_what_cannot_be_predicted_is_told(painted, tmp_path):
    p = painted
    np.save(tmp_path / "volume.npy", np.zeros((5, 20, 20), np.uint16))
    p.dock.export()
    dialog = p.dock.export_dialog
    dialog.take_files([str(tmp_path / "volume.npy"), str(tmp_path / "nothing.tif")])
    assert "nothing.tif" in dialog.words.text()
    assert "volume.npy" in dialog.words.text()
    assert dialog.table.rowCount() == 0
    dialog.close()
