"""Exports from the window: what brushwork predict writes, with progress, cancel and a report."""

import threading

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QAbstractButton, QAbstractItemView

from brushwork import jobs
from brushwork import project as project_module
from brushwork.classifier import Classifier
from brushwork.io import open_image
from brushwork.napari import exporting
from brushwork.project import Project
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
    model = p.dock.bench.learn().model
    for name in "ab":
        written = np.load(tmp_path / "study_results" / f"{name}_probabilities.npy")
        expected = model.predict_array(np.load(tmp_path / f"{name}.npy"))
        np.testing.assert_array_equal(written, np.rint(expected * 255).astype(np.uint8))
    dialog.show_images()
    assert "there already" in dialog.table.item(0, 3).text()
    dialog.grab().save(str(tmp_path / "export.png"))
    dialog.close()


def test_what_the_mask_of_an_image_leaves_out_is_not_written(painted, tmp_path):
    p, bench = painted, painted.dock.bench
    mask = np.ones((120, 160), np.uint8)
    mask[:40] = 0
    np.save(tmp_path / "mask.npy", mask)
    bench.project.mask_image(bench.image_id, tmp_path / "mask.npy")
    p.dock.export()
    dialog = p.dock.export_dialog
    dialog.format.setCurrentText("NumPy")
    dialog.take_all()
    dialog.start()
    p.until(lambda: dialog.write.isEnabled(), "the end of the export")
    model = bench.learn().model
    for name, kept in (("a", mask), ("b", np.ones_like(mask))):
        written = np.load(tmp_path / "study_results" / f"{name}_probabilities.npy")
        expected = model.predict_array(np.load(tmp_path / f"{name}.npy"))
        np.testing.assert_array_equal(written, np.rint(expected * 255).astype(np.uint8) * kept)
    dialog.close()
    bench.project._images._open.clear()
    (tmp_path / "mask.npy").unlink()
    p.dock.export()
    assert "mask.npy is not in" in p.dock.message.text()
    assert "relink" in p.dock.message.text()


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


def test_two_images_are_not_written_to_one_file(painted, tmp_path):
    p = painted
    (tmp_path / "more").mkdir()
    np.save(tmp_path / "more" / "a.npy", np.load(tmp_path / "a.npy")[:50])
    p.dock.export()
    dialog = p.dock.export_dialog
    files = [str(tmp_path / "a.npy"), str(tmp_path / "more" / "a.npy")]
    dialog.take_files(files)
    dialog.start()
    assert dialog.export is None
    assert " and ".join(files) in dialog.words.text()
    assert not (tmp_path / "study_results").exists()
    dialog.close()


@pytest.fixture
def held(monkeypatch):
    """(began, goes on): two events; a prediction tells of its first block and waits before it goes on."""
    began, goes_on = threading.Event(), threading.Event()

    def slow(*given, progress, **how):
        def show(stage, done, total):
            began.set()
            goes_on.wait(60)
            progress(stage, done, total)

        return jobs.predict(*given, progress=show, **how)

    monkeypatch.setattr(exporting, "predict", slow)
    yield began, goes_on
    goes_on.set()


def test_nothing_can_be_chosen_while_it_writes(painted, held):
    p, (began, goes_on) = painted, held
    p.dock.export()
    dialog = p.dock.export_dialog
    at = dialog.table.visualItemRect(dialog.table.item(0, 1)).center()
    for click in (QTest.mouseClick, QTest.mouseDClick):
        click(dialog.table.viewport(), Qt.MouseButton.LeftButton, pos=at)
    assert dialog.table.state() != QAbstractItemView.State.EditingState
    dialog.start()
    p.until(began.is_set, "the first block")
    buttons = [b for b in dialog.findChildren(QAbstractButton) if b.text() and b is not dialog.stop]
    assert len(buttons) == 5
    assert not any(widget.isEnabled() for widget in (*buttons, dialog.kind, dialog.format))
    p.dock.export()
    assert p.dock.export_dialog is dialog, "the page that writes comes to the front"
    goes_on.set()
    p.until(lambda: dialog.write.isEnabled(), "the end of the export")
    assert all(widget.isEnabled() for widget in (*buttons, dialog.kind, dialog.format))
    assert dialog.table.item(0, 3).text() == "written"
    dialog.stop.click()
    assert not dialog.isVisible()


@pytest.mark.parametrize("way", ["the page", "escape", "the dock"])
def test_closing_does_not_wait_and_the_export_goes_on_later(painted, open_window, held, monkeypatch, tmp_path, way):
    p, (began, goes_on) = painted, held
    p.dock.export()
    dialog = p.dock.export_dialog
    dialog.start()
    p.until(began.is_set, "the first block")
    export = dialog.export
    waited = []
    monkeypatch.setattr(export._thread, "join", lambda *seconds: waited.append(seconds))
    if way == "the page":
        dialog.close()
    elif way == "escape":
        QTest.keyClick(dialog, Qt.Key.Key_Escape)
        assert not dialog.isVisible()
    else:
        p.dock.close_project()
    assert export.is_running
    assert not waited
    told = dialog.words.text()
    goes_on.set()
    p.until(lambda: not export.is_running, "the end of the block")
    p._wait(50)
    assert dialog.words.text() == told
    target = tmp_path / "study_results" / "a_probabilities.ome.zarr"
    assert not target.exists()
    assert target.with_name(target.name + ".run").is_dir()
    if way == "the dock":
        p = open_window(tmp_path / "study.brushwork")
        p.until_ready()
    p.dock.export()
    again = p.dock.export_dialog
    assert again is not dialog
    again.start()
    p.until(lambda: again.write.isEnabled(), "the end of the export")
    assert open_image(target).shape == (120, 160)
    again.close()


def test_an_export_trains_once_what_brushwork_train_trains(painted, monkeypatch, tmp_path):
    p = painted
    fits = []
    real = project_module.fit
    monkeypatch.setattr(project_module, "fit", lambda *given, **how: fits.append(1) or real(*given, **how))
    p.dock.export()
    dialog = p.dock.export_dialog
    dialog.start()
    p.until(lambda: dialog.write.isEnabled(), "the end of the export")
    assert len(fits) == 1
    dialog.close()

    p.dock.export()
    dialog = p.dock.export_dialog
    dialog.replace.setChecked(True)
    p.dock.bench.paint(np.argwhere(np.eye(120, 160))[:9], 1)
    dialog.start()
    p.until(lambda: dialog.write.isEnabled(), "the end of the export")
    assert len(fits) == 3, "what was painted since is learnt too"
    dialog.close()

    p.dock.close_project()
    with Project.open(tmp_path / "study.brushwork") as project:
        project.train()
        files = [project.folder / entry.file for entry in project.document.task("").models]
    _, kept, trained = (Classifier.load(file) for file in files)
    assert kept.provenance["accuracy"] == trained.provenance["accuracy"]
    pixels = np.load(tmp_path / "b.npy")
    np.testing.assert_array_equal(kept.predict_array(pixels), trained.predict_array(pixels))


def test_files_are_named_short(painted, tmp_path):
    p = painted
    np.save(tmp_path / "colour.npy", np.zeros((20, 20, 3), np.uint8))
    path = str(tmp_path / "colour.npy")
    chosen = exporting.Chosen(path, open_image(path, axes="yxc"))
    p.dock.export()
    dialog = p.dock.export_dialog
    dialog.take_files([str(tmp_path / "nothing.tif")])
    assert dialog.words.text().startswith("nothing.tif does not exist")
    dialog._take([(path, lambda: chosen)])
    told = dialog.table.item(0, 2)
    assert told.text().startswith("colour.npy has 3 channels")
    assert dialog.table.item(0, 0).toolTip() == str(tmp_path / "colour.npy")
    dialog.close()
