"""What the window promises, asked of it by mouse and keys: classes, images, ways to look, stacks, files that are gone, ways in."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt, QTimer
from qtpy.QtGui import QColor, QContextMenuEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import (
    QApplication,
    QColorDialog,
    QLineEdit,
    QMenu,
    QMessageBox,
    QPushButton,
)

from brushwork.blocks import whole
from brushwork.napari.dock import Dock
from brushwork.project import Project
from brushwork.tile_store import UNCERTAINTY
from conftest import PICTURES
from painting import strokes_on, two_tone

CONTROL = Qt.KeyboardModifier.ControlModifier
LEFT = Qt.MouseButton.LeftButton
COMMAND = str(Path(sys.executable).parent / "brushwork")
SHAPE = (220, 300)
RIM, MIDDLE = (110, 20), (110, 150)  # pixels of the background and of the disc, away from strokes


def saved(path, pixels):
    np.save(path, pixels.clip(0, 255).astype(np.uint8))
    return path


@pytest.fixture
def disc(tmp_path):
    """(file, truth): a bright disc in noise."""
    pixels, truth = two_tone(SHAPE, contrast=80)
    return saved(tmp_path / "disc.npy", pixels), truth


def rim_stroke(p, y=20):
    p.stroke([(y, x) for x in range(30, 260, 19)])


def disc_stroke(p, y=90):
    p.stroke([(y, x) for x in range(110, 190, 13)])


def two_strokes(p):
    rim_stroke(p)
    p.key(Qt.Key.Key_2, CONTROL)
    disc_stroke(p)


def until_answered(p):
    """Until all in view is predicted by a model of what is painted now, and drawn."""
    dock, session = p.dock, p.dock.bench._session

    def answered():
        return (
            not (dock._look.isActive() or dock._tiles._timer.isActive())
            and session._view is not None
            and session.model is not None
            and session.model_generation == session._asked.generation
            and not session._unpredicted()
            and dock.bench.status.state == "ready"
        )

    p.until(answered, "the prediction of the view")
    p._wait(100)  # what the session's thread told meanwhile arrives
    p.until(answered, "the last tiles on the screen")


def colour(p, point):
    """(r, g, b) on the screen at a pixel of the image."""
    x, y = p.at(point).astype(int)
    return p.screen()[y, x, :3].astype(int)


def is_same(a, b, tolerance=8):
    return np.abs(a - b).max() <= tolerance


def painted(p):
    """{class id: pixels} on the image in front."""
    ids, n = np.unique(p.dock.bench.labels().classes, return_counts=True)
    return dict(zip(ids.tolist(), n.tolist()))


def press(p, words):
    """Click a button of the dock."""
    button = next(b for b in p.dock.findChildren(QPushButton) if b.text() == words)
    QTest.mouseClick(button, LEFT)


def click_class(p, row, double=False):
    rows = p.dock.class_list
    at = rows.visualItemRect(rows.topLevelItem(row)).center()
    QTest.mouseClick(rows.viewport(), LEFT, Qt.KeyboardModifier.NoModifier, at)
    if double:
        QTest.mouseDClick(rows.viewport(), LEFT, Qt.KeyboardModifier.NoModifier, at)


def tick_class(p, row):
    """Click the box that shows or hides a class."""
    rows = p.dock.class_list
    row_at = rows.visualItemRect(rows.topLevelItem(row))
    QTest.mouseClick(
        rows.viewport(), LEFT, Qt.KeyboardModifier.NoModifier, QPoint(row_at.left() + 9, row_at.center().y())
    )


def answer(*steps):
    """Do the next step as soon as its menu or dialog waits. steps : (finds the widget or None, does something with it)."""
    find, do = steps[0]
    left = [500]

    def look():
        widget = find()
        left[0] -= 1
        if widget is None and left[0]:
            QTimer.singleShot(20, look)
        elif widget is None:  # whatever waits instead must not wait forever
            for waiting in (QApplication.activePopupWidget(), QApplication.activeModalWidget()):
                if waiting is not None:
                    waiting.close()
        else:
            if steps[1:]:
                answer(*steps[1:])
            do(widget)

    QTimer.singleShot(20, look)


def in_menu(words):
    """A step for `answer`: click an entry of an open menu."""

    def entry(menu):
        return next((a for a in menu.actions() if a.text() == words), None)

    def find():
        menu = QApplication.activePopupWidget()
        return menu if isinstance(menu, QMenu) and entry(menu) is not None else None

    return find, lambda menu: QTest.mouseClick(menu, LEFT, pos=menu.actionGeometry(entry(menu)).center())


def in_dialog(kind, do):
    def find():
        dialog = QApplication.activeModalWidget()
        return dialog if isinstance(dialog, kind) else None

    return find, do


def class_menu(p, row, *steps):
    """Right-click a class, then the steps."""
    rows = p.dock.class_list
    at = rows.visualItemRect(rows.topLevelItem(row)).center()
    answer(*steps)
    event = QContextMenuEvent(QContextMenuEvent.Reason.Mouse, at, rows.viewport().mapToGlobal(at))
    QApplication.sendEvent(rows.viewport(), event)


# ---------------------------------------------------------------- classes


def test_classes_are_chosen_by_keys_and_by_clicks(open_window, disc, tmp_path):
    p = open_window(tmp_path / "disc.brushwork", [disc[0]])
    assert p.dock.class_list.class_id == 1
    p.key(Qt.Key.Key_2, CONTROL)
    disc_stroke(p)
    assert list(painted(p)) == [2]
    click_class(p, 0)
    rim_stroke(p)
    assert sorted(painted(p)) == [1, 2]
    p.key(Qt.Key.Key_2, CONTROL)
    p.key(Qt.Key.Key_D)
    assert p.dock.class_list.class_id == 1
    p.key(Qt.Key.Key_D)
    assert p.dock.class_list.class_id == 2
    click_class(p, 0)
    p.key(Qt.Key.Key_D)
    assert p.dock.class_list.class_id == 2, "D goes back to the class before, however it was chosen"
    before = painted(p)
    disc_stroke(p, 130)
    after = painted(p)
    assert after[1] == before[1]
    assert after[2] > before[2]
    p.key(Qt.Key.Key_7, CONTROL)
    assert p.dock.class_list.class_id == 2, "there is no seventh class"
    p.keep("class-switch")


def test_classes_are_added_renamed_recoloured_merged_moved_and_deleted(open_window, disc, tmp_path):
    p = open_window(tmp_path / "disc.brushwork", [disc[0]])
    bench, rows = p.dock.bench, p.dock.class_list
    two_strokes(p)
    until_answered(p)
    two = p.predicted()
    press(p, "+ class")
    assert rows.class_id == 3
    p.stroke([(200, x) for x in range(30, 260, 19)])
    until_answered(p)
    assert bench.model.n_classes == 3
    assert (p.predicted() == 3).mean() > 0.1
    p.keep("three-classes")

    click_class(p, 2, double=True)
    editor = rows.findChild(QLineEdit)
    QTest.keyClick(editor, Qt.Key.Key_A, CONTROL)
    QTest.keyClicks(editor, "ring")
    QTest.keyClick(editor, Qt.Key.Key_Return)
    p.until(lambda: [c.name for c in bench.classes] == ["background", "foreground", "ring"], "the new name")
    until_answered(p)
    assert "ring" in bench.model.classes, "what is exported carries the new name"

    before = colour(p, MIDDLE)
    dialog = in_dialog(QColorDialog, lambda d: (d.setCurrentColor(QColor("#ff00ff")), d.accept()))
    class_menu(p, 1, in_menu("Colour ..."), dialog)
    assert bench.classes[1].color.lower() == "#ff00ff"
    until_answered(p)
    red, green, blue = colour(p, MIDDLE)
    assert not is_same(colour(p, MIDDLE), before)
    assert min(red, blue) > green

    class_menu(p, 2, in_menu("Merge into"), in_menu("background"))
    assert [c.name for c in bench.classes] == ["background", "foreground"]
    until_answered(p)
    assert set(np.unique(p.predicted())) == {1, 2}
    assert (p.predicted() == disc[1]).mean() > 0.97

    class_menu(p, 1, in_menu("Move up"))
    assert [c.id for c in bench.classes] == [2, 1]
    until_answered(p)
    assert (p.predicted() == disc[1]).mean() > 0.97, "ids stay with their strokes"
    assert (p.predicted() == two).mean() > 0.97

    click_class(p, 0)
    yes = in_dialog(QMessageBox, lambda d: QTest.mouseClick(d.button(QMessageBox.StandardButton.Yes), LEFT))
    class_menu(p, 0, in_menu("Delete ..."), yes)
    assert [c.id for c in bench.classes] == [1]
    p.until(lambda: not p.predicted().any(), "nothing is predicted of one class")
    assert list(painted(p)) == [1]
    n = painted(p)[1]
    p.stroke([(60, x) for x in range(30, 100, 22)])
    assert painted(p)[1] > n, f"the next class is chosen when the chosen one is deleted; told {p.dock.message.text()!r}"
    p.keep("one-class-left")


def test_a_hidden_class_is_predicted_but_not_drawn(open_window, disc, tmp_path):
    p = open_window(tmp_path / "disc.brushwork", [disc[0]])
    bare = {point: colour(p, point) for point in (RIM, MIDDLE)}
    two_strokes(p)
    until_answered(p)
    assert is_same(colour(p, RIM), bare[RIM])
    assert not is_same(colour(p, MIDDLE), bare[MIDDLE])
    tick_class(p, 0)
    tick_class(p, 1)
    assert [c.visible for c in p.dock.bench.classes] == [True, False]
    until_answered(p)
    assert not is_same(colour(p, RIM), bare[RIM])
    assert is_same(colour(p, MIDDLE), bare[MIDDLE])
    assert (p.predicted() == disc[1]).mean() > 0.97
    p.keep("hidden-class")


# ---------------------------------------------------------------- images


def test_each_image_keeps_its_strokes_and_its_prediction(open_window, tmp_path):
    truths = {}
    for name, shape in (("a", SHAPE), ("b", (300, 200))):
        pixels, truths[name] = two_tone(shape, seed=len(truths), contrast=80)
        saved(tmp_path / f"{name}.npy", pixels)
    p = open_window(tmp_path / "both.brushwork", [tmp_path / "a.npy", tmp_path / "b.npy"])
    bench = p.dock.bench
    two_strokes(p)
    until_answered(p)
    first, strokes = p.predicted(), bench.labels()
    p.key(Qt.Key.Key_T)
    assert bench.entry.path.endswith("b.npy")
    p.settle()
    until_answered(p)
    assert (p.predicted() == truths["b"]).mean() > 0.9, "what was learnt on one image predicts the other"
    assert not len(bench.labels())
    p.stroke([(280, x) for x in range(20, 180, 26)])
    assert list(painted(p)) == [2]
    p.dock.undo()
    p.key(Qt.Key.Key_1, CONTROL)
    p.stroke([(280, x) for x in range(20, 180, 26)])
    until_answered(p)
    p.keep("second-image")
    n = len(bench.labels())
    QTest.keyClick(p.dock.images.box, Qt.Key.Key_Up)
    assert bench.entry.path.endswith("a.npy")
    p.settle()
    until_answered(p)
    np.testing.assert_array_equal(bench.labels().coords, strokes.coords)
    assert (p.predicted() == first).mean() > 0.97
    assert np.asarray(p.dock.scene.strokes.layer.data).astype(bool).sum() == len(strokes)
    p.key(Qt.Key.Key_T)
    p.settle()
    assert len(bench.labels()) == n
    assert [p.dock.images.box.itemText(i)[:1] for i in range(2)] == ["✓", "✓"]


def test_a_moved_and_a_replaced_image_are_told_and_the_rest_goes_on(open_window, tmp_path):
    for i, name in enumerate("abc"):
        saved(tmp_path / f"{name}.npy", two_tone(SHAPE, seed=i, contrast=80)[0])
    files = [tmp_path / f"{name}.npy" for name in "abc"]
    p = open_window(tmp_path / "three.brushwork", files)
    p.dock.close_project()
    files[1].rename(tmp_path / "elsewhere.npy")
    saved(files[2], two_tone(SHAPE, seed=9, contrast=10)[0])
    p = open_window(tmp_path / "three.brushwork")
    two_strokes(p)
    until_answered(p)
    first = p.predicted()
    QTest.keyClick(p.dock.images.box, Qt.Key.Key_Down)
    assert "b.npy" in p.dock.message.text()
    assert "any more" in p.dock.message.text()
    p._wait(100)
    p.keep("image-missing")
    assert "a.npy" in p.dock.images.box.currentText(), "the box names the image that is seen"
    p.dock.images.box.setCurrentIndex(1)
    QTest.keyClick(p.dock.images.box, Qt.Key.Key_Down)
    assert "c.npy" in p.dock.message.text()
    assert "not the image that was painted on" in p.dock.message.text()
    assert p.dock.bench.entry.path.endswith("a.npy")
    disc_stroke(p, 130)
    until_answered(p)
    assert (p.predicted() == first).mean() > 0.9
    p._wait(100)
    p.keep("image-replaced")


def test_a_project_opens_though_its_first_image_is_gone(open_window, tmp_path):
    files = [saved(tmp_path / f"{name}.npy", two_tone(SHAPE, seed=i, contrast=80)[0]) for i, name in enumerate("ab")]
    p = open_window(tmp_path / "both.brushwork", files)
    two_strokes(p)
    p.key(Qt.Key.Key_T)
    p.settle()
    p.key(Qt.Key.Key_1, CONTROL)
    two_strokes(p)
    p.dock.close_project()
    files[0].rename(tmp_path / "elsewhere.npy")
    p = open_window(tmp_path / "both.brushwork")
    assert p.dock.bench.entry.path.endswith("b.npy")
    assert "a.npy" in p.dock.message.text()
    until_answered(p)
    p.keep("first-image-missing")


def test_a_second_window_can_look_and_says_who_paints(open_window, disc, tmp_path):
    p = open_window(tmp_path / "disc.brushwork", [disc[0]])
    two_strokes(p)
    until_answered(p)
    p.dock.bench.project.flush()
    second = open_window(tmp_path / "disc.brushwork")
    assert f"process {os.getpid()}" in second.dock.project_label.text()
    until_answered(second)
    np.testing.assert_array_equal(second.predicted(), p.predicted())
    rim_stroke(second, 200)
    assert "nothing can be changed" in second.dock.message.text()
    assert painted(second) == painted(p)
    assert np.asarray(second.dock.scene.strokes.layer.data).astype(bool).sum() == len(p.dock.bench.labels())
    second.keep("read-only")


# ---------------------------------------------------------------- ways to look


def test_every_way_to_look_is_drawn(open_window, disc, tmp_path):
    p = open_window(tmp_path / "disc.brushwork", [disc[0]])
    raw = p.screen()
    bare = {point: colour(p, point) for point in (RIM, MIDDLE)}
    two_strokes(p)
    until_answered(p)
    seen = {}
    for view in ("fill", "outline", "probability", "unsure", "off"):
        assert p.dock.view_box.currentText() == view
        until_answered(p)
        seen[view] = p.screen()
        at = {point: colour(p, point) for point in bare}
        changed = {point: not is_same(at[point], bare[point]) for point in bare}
        if view == "fill":
            assert changed == {RIM: False, MIDDLE: True}
        elif view in ("outline", "off"):
            assert not any(changed.values())
        elif view == "probability":
            assert all(changed.values())
            assert at[MIDDLE].sum() > at[RIM].sum(), "bright where the chosen class is likely"
        p.keep(f"view-{view}")
        p.key(Qt.Key.Key_G)
    assert p.dock.view_box.currentText() == "fill"
    outline = (seen["outline"] != seen["off"]).any(-1)
    assert 0 < outline.mean() < 0.05
    ring = np.argwhere(outline)
    middle = p.at(MIDDLE)[::-1]
    assert np.hypot(*(ring - middle).T).min() > 50, "an outline is drawn at the border, nothing inside"

    p.key(Qt.Key.Key_U)
    until_answered(p)
    assert (p.screen() != seen["unsure"]).any(-1).mean() < 0.01
    tiles = p.dock.bench.tiles
    unsure = tiles.picture(p.dock.bench.image_id, UNCERTAINTY, whole(SHAPE))
    most, least = np.unravel_index(unsure.argmax(), SHAPE), np.unravel_index(unsure.argmin(), SHAPE)
    assert colour(p, most).sum() > colour(p, least).sum()
    p.key(Qt.Key.Key_U)
    assert p.dock.view_box.currentText() == "fill"

    QTest.keyPress(p.canvas, Qt.Key.Key_QuoteLeft)
    p._wait(100)
    assert (p.screen() == raw).all(-1).mean() > 0.99, "the image alone while the key is down"
    p.keep("peek")
    QTest.keyRelease(p.canvas, Qt.Key.Key_QuoteLeft)
    p._wait(100)
    until_answered(p)
    assert (p.screen() == seen["fill"]).all(-1).mean() > 0.99
    n = painted(p)[2]
    disc_stroke(p, 130)
    assert painted(p)[2] > n, f"the brush is there again; the tool is {p.dock.scene.strokes.layer.mode}"


def test_with_live_off_nothing_changes_until_update_once(open_window, disc, tmp_path):
    p = open_window(tmp_path / "disc.brushwork", [disc[0]])
    two_strokes(p)
    until_answered(p)
    before = p.predicted()
    p.key(Qt.Key.Key_K)
    assert not p.dock.live.isChecked()
    p.key(Qt.Key.Key_1, CONTROL)
    disc_stroke(p, 140)  # background, in the disc
    p.until(lambda: "Live is off" in p.dock.status.text(), "what the status says of it")
    session = p.dock.bench._session
    generation = session.model_generation
    p._wait(500)
    assert session.model_generation == generation
    np.testing.assert_array_equal(p.predicted(), before)
    p.keep("paused")
    press(p, "Update once")
    p.until(lambda: session.model_generation != generation, "an answer to Update once")
    until_answered(p)
    learnt = p.predicted()
    assert (learnt[140, 130:170] == 1).all(), "it learnt what was painted while it was off"
    p.key(Qt.Key.Key_2, CONTROL)
    disc_stroke(p, 140)
    p._wait(300)
    np.testing.assert_array_equal(p.predicted(), learnt)
    QTest.mouseClick(p.dock.live, LEFT, pos=QPoint(8, p.dock.live.height() // 2))
    assert p.dock.live.isChecked()
    until_answered(p)
    assert (p.predicted() == disc[1]).mean() > 0.97


def test_a_bucket_on_the_background_is_refused_in_words(open_window, tmp_path):
    pixels, _ = two_tone((600, 700), contrast=80)
    p = open_window(tmp_path / "wide.brushwork", [saved(tmp_path / "wide.npy", pixels)])
    p.stroke([(30, x) for x in range(30, 660, 78)])
    before, screen = painted(p), p.screen()
    p.key(Qt.Key.Key_2, CONTROL)
    p.dock.scene.strokes.layer.mode = "fill"
    p.stroke([(300, 350)])
    assert "bucket" in p.dock.message.text()
    assert painted(p) == before
    assert len(p.dock.bench.task.strokes) == 1
    p.keep("bucket-refused")
    p._wait(100)
    assert (p.screen() == screen).all(-1).mean() > 0.99
    p.dock.scene.strokes.layer.mode = "paint"
    box = [(200, x) for x in range(200, 401, 50)] + [(y, 400) for y in range(200, 401, 50)]
    box += [(400, x) for x in range(400, 199, -50)] + [(y, 200) for y in range(400, 199, -50)]
    p.stroke(box)
    p.viewer.add_image(np.zeros((2, 600, 700), np.uint8), visible=False)  # somebody else's, with more axes
    p.viewer.layers.selection.active = p.dock.scene.strokes.layer
    p._wait(300)
    p.dock.scene.strokes.layer.mode = "fill"
    p.stroke([(300, 300)])
    assert painted(p)[2] > 190 * 190, "an outline that is closed is filled"
    assert p.dock.bench.task.strokes[-1].origin == "fill"
    assert "bucket" not in p.dock.message.text(), "what was wrong before is not said any more"
    p.keep("bucket")


# ---------------------------------------------------------------- stacks and channels


def in_any_plane(p):
    """Aim along the axes that are displayed."""

    def at(point):
        world = np.asarray(p.dock.scene.strokes.layer.data_to_world(point))[list(p.viewer.dims.displayed)]
        camera = p.viewer.scene.camera
        size = np.array([p.canvas.height(), p.canvas.width()])
        found = ((world - np.asarray(camera.center)[-2:]) * camera.zoom + size / 2)[::-1]
        assert (found >= 0).all()
        assert (found < size[::-1]).all()
        return found

    p.at = at
    return p


def test_a_stack_is_painted_and_predicted_in_all_three_planes(open_window, tmp_path):
    shape = (40, 120, 160)
    pixels, truth = two_tone(shape, contrast=80)
    file = saved(tmp_path / "ball.npy", pixels)
    p = in_any_plane(open_window(tmp_path / "ball.brushwork", [file], axes="zyx", pixel_size=(2.0, 1.0, 1.0)))
    middle = [n // 2 for n in shape]
    p.viewer.dims.set_current_step(0, middle[0])
    p.settle()

    def line(along, low, high, **at):
        fixed = [at.get(a, m) for a, m in zip("zyx", middle)]
        return [tuple(x if k == along else fixed[k] for k in range(3)) for x in range(low, high, 3)]

    p.stroke(line(2, 10, 150, y=6))
    p.key(Qt.Key.Key_2, CONTROL)
    p.stroke(line(2, 60, 100))
    until_answered(p)
    assert (p.predicted()[middle[0]] == truth[middle[0]]).mean() > 0.95
    p.keep("stack-z")
    for axis, order in ((1, (1, 0, 2)), (2, (2, 0, 1))):
        p.viewer.dims.order = order
        p.viewer.reset_view()
        p.viewer.dims.set_current_step(axis, middle[axis] + 4)
        p.settle()
        until_answered(p)
        plane = tuple(middle[axis] + 4 if k == axis else slice(None) for k in range(3))
        assert (p.predicted()[plane] == truth[plane]).mean() > 0.95, f"plane across axis {axis}"
        n = painted(p)
        p.key(Qt.Key.Key_1, CONTROL)
        along = 2 if axis == 1 else 1
        p.stroke(line(along, 10, shape[along] - 10, z=3, **{"zyx"[axis]: middle[axis] + 4}))
        assert painted(p)[1] > n[1]
        newest = p.dock.bench.task.strokes[-1].coords
        assert (newest[:, axis] == middle[axis] + 4).all(), "a stroke lies in the plane that is seen"
        assert np.abs(newest[:, 0] - 3).max() <= 3
        until_answered(p)
        assert (p.predicted()[plane] == truth[plane]).mean() > 0.95
        point = list(middle)
        point[axis] += 4
        point[along] += 15
        assert colour(p, point)[0] > colour(p, point)[2], "orange in the middle, where the ball is"
        p.keep(f"stack-{'zyx'[axis]}")


def test_channels_are_layers_and_predict_together(open_window, tmp_path):
    """The disc is seen in the second channel only."""
    rng = np.random.default_rng(3)
    disc, truth = two_tone(SHAPE, contrast=80)
    pixels = np.stack([rng.normal(100, 12, SHAPE), disc, rng.normal(60, 12, SHAPE)])
    file = saved(tmp_path / "channels.npy", pixels)
    p = open_window(tmp_path / "channels.brushwork", [file], axes="cyx")
    assert len(p.dock.scene.images) == 3
    p.keep("channels-bare")
    two_strokes(p)
    until_answered(p)
    assert (p.predicted() == truth).mean() > 0.97
    p.keep("channels")
    p.dock.bench.change_recipe(channels=("channel 0",))
    until_answered(p)
    assert (p.predicted() == truth).mean() < 0.9, "without the channel that tells them apart"


# ---------------------------------------------------------------- ways out and in


def test_the_window_writes_what_brushwork_predict_writes(open_window, disc, tmp_path):
    p = open_window(tmp_path / "disc.brushwork", [disc[0]])
    press(p, "Export ...")
    assert "at least two classes" in p.dock.message.text()
    two_strokes(p)
    until_answered(p)
    predicted = p.predicted()
    press(p, "Export ...")
    dialog = p.dock.export_dialog
    results = tmp_path / "window"
    dialog.folder = results
    dialog.format.setCurrentText("NumPy")
    outputs = ("probabilities", "segmentation", "uncertainty")
    for output in outputs:
        dialog.kind.setCurrentText(output)
        QTest.mouseClick(dialog.write, LEFT)
        p.until(lambda: dialog.write.isEnabled() and dialog.table.item(0, 3).text() == "written", "the export")
    PICTURES.mkdir(parents=True, exist_ok=True)
    dialog.grab().save(str(PICTURES / "export.png"))
    dialog.kind.setCurrentText(outputs[0])
    assert "there already" in dialog.table.item(0, 3).text()
    dialog.close()
    p.dock.close_project()
    for output in outputs:
        out = str(tmp_path / f"command_{output}.npy")
        command = [COMMAND, "predict", str(tmp_path / "disc.brushwork"), str(disc[0]), "-o", out, "--output", output]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        np.testing.assert_array_equal(np.load(out), np.load(results / f"disc_{output}.npy"))
    written = np.load(results / "disc_segmentation.npy").reshape(SHAPE)
    np.testing.assert_array_equal(written, predicted)


@pytest.fixture
def viewer_at_home(make_napari_viewer, qtbot, tmp_path, monkeypatch):
    """A viewer without a dock; the home folder is a new one."""
    monkeypatch.setenv("HOME", str(tmp_path))
    viewer = make_napari_viewer(show=True)
    viewer.window._qt_window.setGeometry(0, 0, 1500, 950)
    with qtbot.waitExposed(viewer.window._qt_window):
        pass
    qtbot.wait(300)
    return viewer


def test_from_the_menus_a_sample_is_painted_and_kept(viewer_at_home, painter, tmp_path, recwarn):
    viewer = viewer_at_home
    viewer.open_sample("brushwork", "nuclei")
    _, start = viewer.window.add_plugin_dock_widget("brushwork", "Pixel classifier")
    assert "nuclei" in start._words.text()
    QTest.mouseClick(start.button, LEFT)
    assert start.dock is not None, start._words.text()
    p = painter(viewer, start.dock)
    pixels = start.dock.bench.image.read(whole(start.dock.bench.image.shape))[0]
    cell = np.unravel_index(pixels.argmax(), pixels.shape)
    dark = np.unravel_index(pixels[20:-20, 20:-20].argmin(), (472, 472))
    p.stroke([(dark[0] + 20, dark[1] + 20 + d) for d in (-3, 0, 3)])
    p.key(Qt.Key.Key_2, CONTROL)
    p.stroke([(cell[0], cell[1] + d) for d in (-2, 0, 2)])
    until_answered(p)
    assert p.predicted()[cell] == 2
    assert 0.01 < (p.predicted() == 2).mean() < 0.6
    p.keep("sample")
    folder = tmp_path / "brushwork" / "nuclei.brushwork"
    assert start.dock.bench.project.folder == folder
    n = len(start.dock.bench.labels())
    start.dock.close_project()
    assert not [str(w.message) for w in recwarn if "Private attribute" in str(w.message)]
    with Project.open(folder) as project:
        assert not project.read_only
        assert len(project.labels("main", project.document.images[0].id)) == n


def test_a_project_is_opened_like_a_file(viewer_at_home, painter, disc, tmp_path):
    file, truth = disc
    strokes = strokes_on(truth)
    with Project.create(tmp_path / "disc.brushwork") as project:
        image = project.add_image(file).id
        project.add_task("cells")
        for class_id, name in enumerate(("outside", "inside"), 1):
            project.add_class("cells", name)
            project.paint("cells", image, class_id, np.argwhere(strokes == class_id))
        labels = project.labels("cells", image)
    viewer = viewer_at_home
    viewer.open(tmp_path / "disc.brushwork", plugin="brushwork")
    docks = viewer.window._qt_window.findChildren(Dock)
    assert len(docks) == 1
    p = painter(viewer, docks[0])
    until_answered(p)
    np.testing.assert_array_equal(p.dock.bench.labels().coords, labels.coords)
    assert (p.predicted() == truth).mean() > 0.97
    p.keep("opened-as-a-file")


# ---------------------------------------------------------------- ways out


def test_a_stroke_in_flight_is_kept_when_the_image_changes(open_window, tmp_path):
    files = [saved(tmp_path / f"{name}.npy", two_tone(SHAPE, seed=i, contrast=80)[0]) for i, name in enumerate("ab")]
    p = open_window(tmp_path / "both.brushwork", files)
    first = p.dock.bench.image_id
    p.stroke([(20, x) for x in range(30, 260, 19)], lift=False)
    p.dock.images.step(1)
    p._wait(100)
    assert [s.image for s in p.dock.bench.task.strokes] == [first]


def test_after_the_dock_is_taken_away_the_project_is_closed_and_nothing_is_painted(open_window, disc, tmp_path):
    p = open_window(tmp_path / "disc.brushwork", [disc[0]])
    two_strokes(p)
    until_answered(p)
    strokes = p.dock.scene.strokes.layer
    p.viewer.window.remove_dock_widget(p.dock)
    p._wait(200)
    with Project.open(tmp_path / "disc.brushwork") as project:
        assert not project.read_only
        assert len(project.document.tasks[0].strokes) == 2
    assert not strokes.editable


def test_an_image_without_numbers_is_shown(open_window, tmp_path):
    np.save(tmp_path / "nan.npy", np.full((60, 80), np.nan, np.float32))
    p = open_window(tmp_path / "nan.brushwork", [tmp_path / "nan.npy"])
    assert p.dock.scene.strokes.layer in p.viewer.layers
