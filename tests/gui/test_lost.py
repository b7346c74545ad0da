"""The window while no image is there to work on: what it says, that nothing it does goes wrong, and the ways out."""

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QAbstractButton, QFileDialog, QInputDialog

from brushwork.napari import texts
from brushwork.project import Project
from painting import two_tone

SHAPE = (220, 300)
RIM = np.stack([np.full(230, 20), np.arange(30, 260)], -1)
DISC = np.stack([np.full(80, 90), np.arange(110, 190)], -1)


def saved(path, seed=0):
    path.parent.mkdir(exist_ok=True)
    np.save(path, two_tone(SHAPE, seed=seed, contrast=80)[0].clip(0, 255).astype(np.uint8))
    return path


@pytest.fixture
def painted(tmp_path):
    """(project, image): two classes are painted on the image, which is then gone."""
    file = saved(tmp_path / "study" / "disc.npy")
    with Project.create(tmp_path / "study" / "disc.brushwork") as project:
        image = project.add_image(file).id
        project.add_task("main")
        for class_id, (name, coords) in enumerate({"outside": RIM, "inside": DISC}.items(), 1):
            project.add_class("main", name)
            project.paint("main", image, class_id, coords)
    return project.folder, file


def do_everything(p, monkeypatch):
    """Every key and every button of the dock; dialogs are answered with nothing, windows are closed again."""
    from brushwork.napari.keys import bindings

    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *given: ("", ""))
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *given: ([], ""))
    monkeypatch.setattr(QInputDialog, "getText", lambda *given: ("", False))
    for _, function in bindings(p.dock).values():
        for _ in function(p.viewer) or ():
            pass
    for button in p.dock.findChildren(QAbstractButton):
        is_there = button.isEnabled() and (button is not p.dock.images.find_button or button.isVisible())
        if is_there and button.text() != "Go back to it":
            button.click()
            p._wait(20)
    for row in range(p.dock.images.box.count()):
        p.dock.images.box.setCurrentIndex(row)
        p.dock.images.box.activated.emit(row)
    for view in range(p.dock.view_box.count()):
        p.dock.view_box.setCurrentIndex(view)
    p.dock.scales.preview.setChecked(True)
    p.dock.scales.table.setCurrentCell(1, 3)
    p.dock.scales.table.item(1, 3).setCheckState(Qt.CheckState.Unchecked)
    for box in p.dock.scales.boxes.values():
        box.click()
    for entry in p.dock.bench.project.document.images:
        p.dock.go_to(entry.id, (0, 0))
    p.dock.accept()
    p.dock.add_class()
    p.dock.bench.add_task("another")
    p.dock.project_panel.title.setChecked(True)
    p.dock.project_panel.keep()
    p.viewer.dims.ndisplay = 3
    p._wait(100)
    p.viewer.dims.ndisplay = 2
    p._wait(1800)  # what is measured while nobody paints
    p.dock.bench.choose_task("main")
    p.dock.view_box.setCurrentIndex(0)


def seen(p):
    return [layer.name for layer in p.viewer.layers if layer.visible]


def test_a_project_whose_only_image_is_gone_opens_and_shows_it_once_it_is_found(open_window, painted, tmp_path):
    folder, file = painted
    moved = file.rename(tmp_path / "moved.npy")
    p = open_window(folder)
    assert seen(p) == []
    assert f"disc.npy is not in {file.parent} any more" in p.dock.status.text()
    assert p.dock.message.text() == ""
    assert p.dock.images.find_button.isVisible()
    assert p.dock.class_list.topLevelItem(1).text(2) == "1", "the strokes are counted"
    p.keep("no-image-missing")
    p.dock.images.relink(str(saved(tmp_path / "other.npy", seed=7)))
    assert "not the image that was painted on" in p.dock.message.text()
    assert seen(p) == []
    assert p.dock.images.find_button.isVisible()
    p.dock.images.relink(str(moved))
    p.settle()
    p.until_ready()
    assert "found 1 image" in p.dock.message.text()
    assert not p.dock.images.find_button.isVisible()
    assert len(seen(p)) == 3
    np.testing.assert_array_equal(p.dock.bench.labels().coords, np.concatenate([RIM, DISC]))
    assert (p.predicted() == two_tone(SHAPE, contrast=80)[1]).mean() > 0.97
    p.keep("no-image-found")
    p.stroke([(130, x) for x in range(110, 190, 13)])
    assert len(p.dock.bench.task.strokes) == 3


@pytest.mark.parametrize("is_gone", [True, False])
def test_nothing_goes_wrong_while_there_is_no_image(open_window, painted, tmp_path, monkeypatch, is_gone):
    folder, file = painted
    if is_gone:
        file.unlink()
    else:
        folder = tmp_path / "empty.brushwork"
    p = open_window(folder)
    do_everything(p, monkeypatch)
    assert seen(p) == []
    sentence = "disc.npy is not in" if is_gone else texts.NO_FIRST_IMAGE
    assert sentence in p.dock.status.text()
    assert p.dock.images.find_button.isVisible() is is_gone
    p.dock.close_project()


def test_the_first_image_is_added_in_the_window(open_window, tmp_path, monkeypatch):
    p = open_window(tmp_path / "new.brushwork")
    assert p.dock.status.text() == texts.NO_FIRST_IMAGE
    p.keep("no-image-yet")
    file = saved(tmp_path / "disc.npy")
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *given: ([str(file)], ""))
    button = next(b for b in p.dock.findChildren(QAbstractButton) if b.text() == "Add ...")
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)
    p.settle()
    assert p.dock.images.box.currentText() == "disc.npy"
    p.stroke([(20, x) for x in range(30, 260, 19)])
    QTest.keyClick(p.canvas, Qt.Key.Key_2, Qt.KeyboardModifier.ControlModifier)
    p.stroke([(90, x) for x in range(110, 190, 13)])
    p.until_ready()
    assert (p.predicted() == two_tone(SHAPE, contrast=80)[1]).mean() > 0.97


def test_going_back_to_before_the_first_image_and_forth(open_window, tmp_path):
    folder = tmp_path / "disc.brushwork"
    with Project.create(folder) as project:
        project.snapshot()
    p = open_window(folder, [saved(tmp_path / "disc.npy")])
    p.stroke([(20, x) for x in range(30, 260, 19)])
    bench = p.dock.bench
    empty = bench.project.history()[-1]
    bench.restore(empty)
    p._wait(300)
    assert seen(p) == []
    assert p.dock.status.text() == texts.NO_FIRST_IMAGE
    assert bench.image_id == ""
    assert [c.name for c in bench.classes] == ["background", "foreground"]
    p.keep("no-image-restored")
    bench.restore(bench.project.history()[0])
    p._wait(300)
    assert len(seen(p)) == 3
    assert len(bench.labels()) > 0
    p.settle()
    p.stroke([(200, x) for x in range(30, 260, 19)])
    assert len(bench.task.strokes) == 2
