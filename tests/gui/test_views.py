"""What is seen of images that are too large to be seen whole, and what helps to look: a box, places gone back to, explanations."""

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication

from brushwork.io import READERS
from brushwork.io.stored import one_level
from painting import two_tone

CONTROL, SHIFT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier
SQUARE = 64  # pixels


class Board:
    """Dark and bright squares with some texture, 10,000,000,000 pixels made when they are sliced; notes the most at once."""

    shape, dtype = (100_000, 100_000), np.dtype(np.uint8)
    most = 0

    def __getitem__(self, key):
        rows, columns = (np.arange(n)[k] for n, k in zip(self.shape, key))
        Board.most = max(Board.most, rows.size * columns.size)
        squares = (rows[:, None] // SQUARE + columns // SQUARE) % 2 * 120 + 40
        return (squares + (rows[:, None] * 7 + columns * 13) % 31).astype(np.uint8)


@pytest.fixture
def board(open_window, tmp_path, monkeypatch):
    """A window over a Board, zoomed in to its middle."""
    monkeypatch.setitem(READERS, "board", lambda uri: one_level(Board(), "yx"))
    p = open_window(tmp_path / "board.brushwork", ["board://squares"])
    look_at(p, (50_016, 50_016))
    return p


@pytest.fixture
def disc(tmp_path):
    """A file with a bright disc in noise."""
    pixels, _ = two_tone((220, 300), contrast=80)
    file = tmp_path / "disc.npy"
    np.save(file, pixels.clip(0, 255).astype(np.uint8))
    return file


def look_at(p, point, zoom=1.0):
    p.dock.scene.go_to(point)
    p.viewer.scene.camera.zoom = zoom
    p._wait(150)
    p.until(lambda: not p.dock._look.isActive(), "the view is looked at")


def across(y, x, n=60, step=6):
    return [(y, x + k) for k in range(0, n, step)]


def two_strokes(p):
    p.stroke(across(20, 30, 200, step=18))
    p.key(Qt.Key.Key_2, CONTROL)
    p.stroke(across(110, 110, step=18))


def move(p, at, kind, buttons):
    """A mouse event at a position of the canvas."""
    button = Qt.MouseButton.LeftButton if kind == QEvent.Type.MouseButtonRelease else Qt.MouseButton.NoButton
    local = QPointF(*map(float, at))
    whole = QPointF(p.canvas.mapToGlobal(local.toPoint()))
    QApplication.sendEvent(p.canvas, QMouseEvent(kind, local, whole, button, buttons, Qt.KeyboardModifier.NoModifier))
    p._wait(12)


# ---------------------------------------------------------------- large images


def test_a_huge_plane_is_painted_in_where_it_is_looked_at(board):
    p = board
    strokes = p.dock.scene.strokes.layer
    assert strokes.data.size <= 1 << 26
    p.stroke(across(50_016, 49_990))
    p.key(Qt.Key.Key_2, CONTROL)
    p.stroke(across(50_080, 49_990))
    p.until_ready()
    painted = p.dock.bench.labels()
    assert painted.coords.min(0).tolist() == [50_014, 49_988]
    assert painted.coords.max(0).tolist() == [50_082, 50_046]
    look_at(p, (20_016, 80_016))  # far beyond the window
    p.stroke(across(20_016, 80_000))
    last = p.dock.bench.task.strokes[-1]
    assert last.coords.min(0).tolist() == [20_014, 79_998]
    n = len(p.dock.bench.labels())
    strokes.mode = "erase"
    p.stroke(across(20_016, 80_000, 30))
    assert 0 < n - len(p.dock.bench.labels()) < len(last)
    p.dock.undo()
    assert len(p.dock.bench.labels()) == n
    look_at(p, (50_016, 50_016))
    seen = np.asarray(strokes.data)
    assert (seen > 0).sum() == len(painted)
    p.keep("huge-near")
    assert Board.most <= 1 << 26


def test_a_huge_plane_is_seen_from_afar_and_not_painted_there(board):
    p = board
    p.stroke(across(50_016, 49_990))
    before = p.dock.bench.labels().coords
    look_at(p, (50_016, 50_016), zoom=0.02)
    scene = p.dock.scene
    assert scene.strokes.layer.data.size <= 1 << 26
    assert np.asarray(scene.strokes.layer.data).any()
    p.stroke([(50_000, x) for x in range(45_000, 55_000, 1000)])
    assert "Zoom in" in p.dock.message.text()
    np.testing.assert_array_equal(p.dock.bench.labels().coords, before)
    p.until(lambda: not p.dock._look.isActive(), "what was not painted is not shown")
    assert (scene.strokes.layer._slice.image.raw > 0).sum() < 20
    p.viewer.dims.ndisplay = 3
    p._wait(100)
    p.viewer.dims.ndisplay = 2
    look_at(p, (50_016, 50_016))
    assert p.dock.message.text() == ""
    p.stroke(across(50_116, 49_990))
    assert len(p.dock.bench.labels()) == 2 * len(before)
    p.keep("huge-again")


def test_a_stroke_is_kept_whatever_the_view_does_meanwhile(board):
    p = board
    path = across(50_016, 49_990)
    p.stroke(path[:5], lift=False)
    p.dock.scene.go_to((30_000, 30_000))
    p._wait(200)
    assert "End the stroke" in p.dock.message.text()
    p.dock.scene.go_to((50_016, 50_016))
    p._wait(200)
    for point in path[5:]:
        move(p, p.at(point), QEvent.Type.MouseMove, Qt.MouseButton.LeftButton)
    move(p, p.at(path[-1]), QEvent.Type.MouseButtonRelease, Qt.MouseButton.NoButton)
    coords = p.dock.bench.labels().coords
    assert coords.min(0).tolist() == [50_014, 49_988]
    assert coords.max(0).tolist() == [50_018, 50_046]
    look_at(p, (30_016, 30_016))
    p.stroke(across(30_016, 30_000))
    assert p.dock.bench.task.strokes[-1].coords.min(0).tolist() == [30_014, 29_998]


def test_a_bucket_that_would_be_cut_off_is_refused_in_words(board):
    p = board
    strokes = p.dock.scene.strokes
    y, end = 50_016, strokes._window.stop[1]
    look_at(p, (y, end - 500))
    assert strokes._window.stop[1] == end
    tray = [(row, x) for row in (y - 20, y + 20) for x in range(end - 500, end)]
    side = [(row, end - 500) for row in range(y - 20, y + 21)]
    p.dock.bench.paint(np.array(tray + side), 1)
    p.dock.bench.strokes_changed()
    p._wait(100)
    n = len(p.dock.bench.labels())
    strokes.layer.mode = "fill"
    p.stroke([(y, end - 480)])
    assert "the end of what can be painted" in p.dock.message.text()
    assert len(p.dock.bench.labels()) == (np.asarray(strokes.layer.data) > 0).sum() == n
    p.dock.bench.paint(np.array([(row, end - 100) for row in range(y - 20, y + 21)]), 1)
    p.dock.bench.strokes_changed()
    p._wait(100)
    p.stroke([(y, end - 480)])
    assert p.dock.message.text() == ""
    assert len(p.dock.bench.labels()) == n + 39 * 399 + 39


def test_a_small_image_is_one_array_as_it_is(open_window, disc, tmp_path):
    p = open_window(tmp_path / "disc.brushwork", [disc])
    assert not p.dock.scene.images[0].multiscale
    assert p.dock.scene.strokes.layer.data.shape == (220, 300)


def test_a_stroke_that_ends_after_the_image_was_changed_lies_on_its_own_image(open_window, disc, tmp_path):
    other = tmp_path / "other.npy"
    np.save(other, np.load(disc)[:, ::-1])
    p = open_window(tmp_path / "two.brushwork", [disc, other])
    first = p.dock.bench.image_id
    path = across(20, 30, 120)
    at = [p.at(point) for point in path]
    p.stroke(path[:8], lift=False)
    p.dock.bench.step_image(1)
    assert p.dock.bench.image_id != first
    for point in at[8:]:
        move(p, point, QEvent.Type.MouseMove, Qt.MouseButton.LeftButton)
    move(p, at[-1], QEvent.Type.MouseButtonRelease, Qt.MouseButton.NoButton)
    strokes = p.dock.bench.task.strokes
    assert strokes
    assert {s.image for s in strokes} == {first}
    assert not len(p.dock.bench.labels())


# ---------------------------------------------------------------- a box that limits prediction


def test_prediction_is_kept_to_a_box_that_can_be_moved(open_window, disc, tmp_path):
    p = open_window(tmp_path / "disc.brushwork", [disc])
    p.dock.limit.setChecked(True)
    scene, limit = p.dock.scene, p.dock.bench.limit
    assert p.viewer.layers.selection.active is scene.marks.box
    assert limit is not None
    assert 0 < limit.size < 220 * 300
    p.key(Qt.Key.Key_1, CONTROL)
    assert p.viewer.layers.selection.active is scene.strokes.layer
    two_strokes(p)
    p.until(lambda: p.predicted().any(), "the prediction in the box")
    p.keep("box")
    p.viewer.layers.selection.active = scene.marks.box
    scene.marks.box.selected_data = {0}
    before = scene.marks.box.data[0].copy()
    p.stroke([(110, 150), (105, 145), (90, 130), (70, 110)])
    assert (scene.marks.box.data[0] < before).all(), "it was dragged with the mouse"
    p.until(lambda: p.dock.bench.limit.start < limit.start, "the limit follows the box")
    assert p.dock.bench.limit.shape == pytest.approx(limit.shape, abs=1)
    scene.marks.box.data = [np.array([(9.5, 19.5), (9.5, 99.5), (59.5, 99.5), (59.5, 19.5)])]
    p.until(lambda: p.dock.bench.limit.start == (10, 20), "any change of it counts")
    assert p.dock.bench.limit.stop == (60, 100)
    p.viewer.layers.remove(scene.marks.box)
    p.until(lambda: not p.dock.limit.isChecked(), "a box that is deleted limits nothing")
    assert p.dock.bench.limit is None
    p.until_ready()
    assert p.predicted().all()
    p.dock.limit.setChecked(True)
    p.dock.limit.setChecked(False)
    assert "only here" not in p.viewer.layers


def test_the_box_of_a_stack_holds_in_all_planes(open_window, tmp_path):
    pixels, _ = two_tone((20, 120, 160), contrast=80)
    np.save(tmp_path / "ball.npy", pixels.clip(0, 255).astype(np.uint8))
    p = open_window(tmp_path / "ball.brushwork", [tmp_path / "ball.npy"], axes="zyx")
    p.dock.limit.setChecked(True)
    limit = p.dock.bench.limit
    assert (limit.start[0], limit.stop[0]) == (0, 20)
    p.viewer.dims.set_current_step(0, 3)
    p._wait(200)
    assert p.dock.bench.limit == limit
    assert p.dock.limit.isChecked()
    shown = p.screen()
    p.dock.scene.marks.box.visible = False
    assert (p.screen() != shown).any(-1).sum() > 500, "the box is seen in every plane"
    p.dock.limit.setChecked(False)
    p.viewer.dims.order = (1, 0, 2)
    p._wait(100)
    p.dock.limit.setChecked(True)
    assert not p.dock.limit.isChecked()
    assert "y and x" in p.dock.message.text()


# ---------------------------------------------------------------- small helps


def test_the_layer_says_whose_probability_it_shows(open_window, disc, tmp_path):
    p = open_window(tmp_path / "disc.brushwork", [disc])
    two_strokes(p)
    second = p.dock.bench.classes[1]
    p.dock.view_box.setCurrentText("probability")
    layer = p.dock.scene.probability
    assert layer.name == f"probability: {second.name}"
    p.dock.bench.change_class(second.id, name="nucleus")
    p.until(lambda: layer.name == "probability: nucleus", "the new name")
    p.key(Qt.Key.Key_1, CONTROL)
    assert layer.name == f"probability: {p.dock.bench.classes[0].name}"
    p.key(Qt.Key.Key_U)
    assert layer.name == "unsure"


def test_predictions_are_shown_in_the_colour_they_were_given(open_window, disc, tmp_path):
    p = open_window(tmp_path / "disc.brushwork", [disc])
    two_strokes(p)
    p.until_ready()
    scene, second = p.dock.scene, p.dock.bench.classes[1]
    p.dock.bench.change_class(second.id, prediction_color="#00ff00")
    p._wait(200)
    assert np.allclose(scene.prediction.colormap.map(second.id), (0, 1, 0, 1))
    assert not np.allclose(scene.strokes.layer.colormap.map(second.id), (0, 1, 0, 1)), "strokes keep theirs"
    p.keep("prediction-colour-fill")
    p.dock.view_box.setCurrentText("probability")
    p._wait(200)
    np.testing.assert_allclose(scene.probability.colormap.map(1.0).ravel(), (0, 1, 0, 1), atol=0.01)
    p.keep("prediction-colour-probability")
    p.key(Qt.Key.Key_1, CONTROL)
    assert scene.probability.colormap.name == "viridis"
    p.dock.view_box.setCurrentText("unsure")
    assert scene.probability.colormap.name == "magma"


def test_an_image_is_called_by_its_nickname(open_window, disc, tmp_path):
    p = open_window(tmp_path / "disc.brushwork", [disc])
    bench = p.dock.bench
    assert p.dock.images.box.currentText() == disc.name
    bench.project.name_image(bench.image_id, "the first day")
    bench.show_image(bench.image_id)
    assert p.dock.images.box.currentText() == "the first day"
    assert p.dock.scene.images[0].name == "the first day"


def test_a_place_that_was_suggested_is_gone_back_to(open_window, disc, tmp_path):
    p = open_window(tmp_path / "disc.brushwork", [disc])
    two_strokes(p)
    p.until_ready()
    centres = []
    for _ in range(2):
        p.dock.message.setText("")
        p.key(Qt.Key.Key_N)
        p.until(lambda: "Paint in the middle" in p.dock.message.text(), "a place to paint at")
        centres.append(tuple(p.viewer.scene.camera.center))
    assert centres[0] != centres[1]
    p.key(Qt.Key.Key_N, SHIFT)
    assert tuple(p.viewer.scene.camera.center) == centres[0]
    p.key(Qt.Key.Key_N, SHIFT)
    assert "first place" in p.dock.message.text()
    p.key(Qt.Key.Key_N)
    p.until(lambda: "Paint in the middle" in p.dock.message.text(), "a new place, not those that were suggested before")
    assert tuple(p.viewer.scene.camera.center) not in centres
    p.key(Qt.Key.Key_N, SHIFT)
    assert tuple(p.viewer.scene.camera.center) == centres[1]


def test_a_pixel_is_explained(open_window, disc, tmp_path):
    p = open_window(tmp_path / "disc.brushwork", [disc])
    move(p, (2, 2), QEvent.Type.MouseMove, Qt.MouseButton.NoButton)
    p.key(Qt.Key.Key_W)
    assert "Point at a pixel" in p.dock.message.text()
    two_strokes(p)
    p.until_ready()
    move(p, p.at((100, 150)), QEvent.Type.MouseMove, Qt.MouseButton.NoButton)
    p.key(Qt.Key.Key_W)
    why, second = p.dock.quality.why, p.dock.bench.classes[1].name
    p.until(why.isVisible, "an explanation")
    assert f"This pixel: {second}" in why.text()
    assert 'href="0"' in why.text()
    p.keep("explained")
    before = tuple(p.viewer.scene.camera.center)
    why.linkActivated.emit("0")
    assert tuple(p.viewer.scene.camera.center) != before
    assert p.dock.quality._alike[0][1] in {tuple(c) for c in p.dock.bench.labels().coords.tolist()}


def test_a_cell_of_the_table_leaves_the_channels_of_others(open_window, tmp_path):
    pixels, _ = two_tone((80, 100), contrast=80)
    two = np.stack([pixels, pixels[::-1]]).clip(0, 255).astype(np.uint8)
    np.save(tmp_path / "two.npy", two)
    p = open_window(tmp_path / "two.brushwork", [tmp_path / "two.npy"], axes="cyx")
    p.dock.bench.change_recipe(features="gaussian@1:1 hessian@0:1.6 laplacian:2/2d")
    table = p.dock.scales.table
    cells = {
        (table.verticalHeaderItem(i).text(), table.horizontalHeaderItem(j).text()): (i, j)
        for i in range(6)
        for j in range(7)
    }
    table.item(*cells["blobs", "1.6"]).setCheckState(Qt.CheckState.Checked)
    assert p.dock.bench.task.features == "gaussian@1:1 laplacian:1.6 laplacian:2/2d hessian@0:1.6"
    table.item(*cells["intensity", "1"]).setCheckState(Qt.CheckState.Unchecked)
    assert p.dock.bench.task.features == "laplacian:1.6 laplacian:2/2d hessian@0:1.6"
