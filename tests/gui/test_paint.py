"""Paint and see: from a file to a correct prediction, by mouse."""

import numpy as np
import pytest
from qtpy.QtCore import Qt

from painting import two_tone

CONTROL = Qt.KeyboardModifier.ControlModifier


@pytest.fixture
def disc(tmp_path):
    """(file, truth): a bright disc in noise."""
    pixels, truth = two_tone((220, 300), contrast=80)
    file = tmp_path / "disc.npy"
    np.save(file, pixels.clip(0, 255).astype(np.uint8))
    return file, truth


def two_strokes(p):
    """One in the background with class 1, one in the disc with class 2."""
    p.stroke([(20, x) for x in range(30, 260, 19)])
    p.key(Qt.Key.Key_2, CONTROL)
    p.stroke([(110, x) for x in range(110, 190, 13)])


def test_two_strokes_find_the_disc_and_undo_unlearns(open_window, disc, tmp_path):
    file, truth = disc
    p = open_window(tmp_path / "disc.brushwork", [file])
    assert "Paint a little of background" in p.dock.status.text()
    p.stroke([(20, x) for x in range(30, 260, 6)])
    p.until(lambda: "another class" in p.dock.status.text(), "advice after the first class")
    assert not p.predicted().any()
    before = p.screen()
    p.key(Qt.Key.Key_2, CONTROL)
    assert p.dock.class_list.class_id == 2
    p.stroke([(110, x) for x in range(110, 190, 6)])
    p.until_ready()
    assert (p.predicted() == truth).mean() > 0.97
    after = p.screen()
    assert (before != after).any(-1).mean() > 0.05
    p.keep("two-strokes")
    inside = p.predicted()
    p.key(Qt.Key.Key_Z, CONTROL)
    p.until(lambda: not p.predicted().any(), "nothing is shown with one class")
    p.dock.redo()
    p.until_ready()
    np.testing.assert_array_equal(p.predicted(), inside)


def test_everything_is_as_it_was_after_closing(open_window, disc, tmp_path, qtbot):
    file, _ = disc
    p = open_window(tmp_path / "disc.brushwork", [file])
    two_strokes(p)
    p.until_ready()
    painted, predicted = p.dock.bench.labels(), p.predicted()
    p.dock.close_project()
    again = open_window(tmp_path / "disc.brushwork")
    np.testing.assert_array_equal(again.dock.bench.labels().coords, painted.coords)
    np.testing.assert_array_equal(again.dock.bench.labels().classes, painted.classes)
    again.until_ready()
    np.testing.assert_array_equal(again.predicted(), predicted)
    again.dock.undo()
    assert len(again.dock.bench.labels()) < len(painted)


def test_the_eraser_erases(open_window, disc, tmp_path):
    file, _ = disc
    p = open_window(tmp_path / "disc.brushwork", [file])
    two_strokes(p)
    n = len(p.dock.bench.labels())
    p.dock.scene.strokes.layer.mode = "erase"
    p.stroke([(20, x) for x in range(30, 140, 6)])
    left = p.dock.bench.labels()
    assert 0 < len(left) < n
    assert np.asarray(p.dock.scene.strokes.layer.data).astype(bool).sum() == len(left)
    assert p.dock.bench.task.strokes[-1].origin == "eraser"


def test_nothing_in_the_dock_is_clipped(open_window, disc, tmp_path):
    from qtpy.QtWidgets import QCheckBox, QLabel, QPushButton, QScrollArea

    file, _ = disc
    p = open_window(tmp_path / "disc.brushwork", [file])
    two_strokes(p)
    p.until_ready()
    scroll = p.dock.findChild(QScrollArea)
    assert scroll.widget().width() <= scroll.viewport().width()
    for kind in (QLabel, QPushButton, QCheckBox):
        for widget in p.dock.findChildren(kind):
            if widget.isVisible() and widget.text():
                wanted = (
                    widget.heightForWidth(widget.width()) if widget.hasHeightForWidth() else widget.sizeHint().height()
                )
                assert widget.height() >= wanted - 2, widget.text()
                if kind is not QLabel:
                    assert widget.width() >= widget.sizeHint().width() - 2, widget.text()
    p.dock.scales.fold.title.click()
    p.dock.scales.table.setCurrentCell(2, 3)
    p.dock.scales.preview.click()
    p.until(lambda: p.dock.scene.marks.map is not None, "the preview of a feature")
    p.settle()
    p.keep("advanced")
