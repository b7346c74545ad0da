"""Ways into the window: a layer of napari's becomes an image to paint on, from its file or from memory."""

import numpy as np
import pytest
from napari.layers._source import layer_source
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QPushButton

from brushwork.blocks import whole
from brushwork.errors import InputError
from brushwork.napari import start as ways
from brushwork.napari.start import open_project, project_beside
from brushwork.project import Project


@pytest.fixture
def start(make_napari_viewer, qtbot, painter, tmp_path, monkeypatch):
    """start(layer's data, ...) -> the plugin's widget, after its button was pressed."""
    monkeypatch.setenv("HOME", str(tmp_path))
    made = []

    def pressed(*data, file=None, **how):
        viewer = make_napari_viewer(show=True)
        layers = viewer.open(file, plugin="napari") if file else [viewer.add_image(d, **how) for d in data]
        viewer.layers.selection.active = layers[0]
        _, widget = viewer.window.add_plugin_dock_widget("brushwork", "Pixel classifier")
        qtbot.wait(100)
        QTest.mouseClick(widget.button, Qt.MouseButton.LeftButton)
        made.append(widget)
        return widget

    yield pressed
    for widget in made:
        if widget.dock is not None:
            widget.dock.close_project()


def pixels_of(shape, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, 200, shape).astype(dtype)


def image_of(widget):
    assert widget.dock is not None, widget._words.text()
    return widget.dock.bench.image


@pytest.mark.parametrize(
    ("shape", "how", "axes", "pixel_size"),
    [
        ((40, 50), {}, "yx", None),
        ((40, 50), {"scale": (0.5, -0.25)}, "yx", (0.5, 0.25)),
        ((6, 40, 50), {"scale": (2, 1, 1)}, "zyx", (2, 1, 1)),
        ((3, 6, 40, 50), {"scale": (9, 2, 1, 1)}, "tzyx", (2, 1, 1)),
        ((3, 6, 40, 50), {"scale": (9, 500, 1, 1), "units": ("s", "nm", "um", "um")}, "tzyx", (0.5, 1, 1)),
        ((3, 6, 40, 50), {"scale": (9, 1, 1, 1)}, "tzyx", None),
        ((40, 50, 3), {"rgb": True}, "yxc", None),
        ((3, 6, 40, 50, 3), {"rgb": True}, "tzyxc", None),
    ],
)
def test_a_layer_in_memory_is_kept_with_its_axes_and_pixel_size(start, tmp_path, shape, how, axes, pixel_size):
    data = pixels_of(shape)
    widget = start(data, name="some layer", **how)
    image = image_of(widget)
    assert (image.axes, image.pixel_size) == (axes, pixel_size)
    folder = tmp_path / "brushwork" / "some_layer.brushwork"
    assert widget.dock.bench.project.folder == folder
    assert str(folder) in widget.dock.message.text()
    np.testing.assert_array_equal(np.load(folder / "images" / "some_layer.npy"), data)


def test_channels_that_lie_over_each_other_become_one_image(start):
    data = [pixels_of((2, 6, 40, 50), seed=i) for i in range(3)]
    image = image_of(start(*data, name="stain", blending="additive", scale=(1, 2, 1, 1)))
    assert (image.axes, image.shape, image.n_frames, image.n_channels) == ("ctzyx", (6, 40, 50), 2, 3)
    np.testing.assert_array_equal(image.read(whole(image.shape, 1)), [d[1] for d in data])


def test_of_several_levels_the_finest_is_kept(start):
    data = pixels_of((400, 500))
    image = image_of(start([data, data[::2, ::2], data[::4, ::4]], multiscale=True))
    np.testing.assert_array_equal(image.read(whole(image.shape))[0], data)


def test_more_axes_than_we_know_are_told_and_nothing_is_left(start, tmp_path):
    widget = start(np.zeros((2, 3, 4, 40, 50), np.uint8), name="odd")
    QTest.mouseClick(widget.button, Qt.MouseButton.LeftButton)
    assert widget.dock is None
    assert "odd has 5 axes" in widget._words.text()
    assert "--axes" not in widget._words.text()
    assert not (tmp_path / "brushwork").exists()


def test_a_layer_that_would_fill_the_disk_is_told(start, tmp_path, monkeypatch):
    monkeypatch.setattr(ways, "MOST_KEPT", 1000)
    widget = start(pixels_of((40, 50)))
    assert "save it as OME-Zarr" in widget._words.text()
    assert not (tmp_path / "brushwork").exists()


def test_what_fails_later_leaves_nothing_either(start, tmp_path, monkeypatch):
    def fails(*given):
        raise OSError(28, "No space left on device", "somewhere")

    monkeypatch.setattr(ways.np, "save", fails)
    widget = start(pixels_of((40, 50)))
    assert "No space left" in widget._words.text()
    assert not list((tmp_path / "brushwork").iterdir())


@pytest.mark.parametrize("shape", [(40, 50), (5, 40, 50), (2, 5, 40, 50)])
def test_a_layer_from_a_file_is_painted_in_a_project_beside_it(start, tmp_path, shape):
    file = tmp_path / "data" / "cells.npy"
    file.parent.mkdir()
    np.save(file, pixels_of(shape))
    widget = start(file=str(file))
    assert image_of(widget).axes == "tzyx"[-len(shape) :]
    assert widget.dock.bench.project.folder == file.with_name("cells.brushwork")
    assert widget.dock.bench.project.place(widget.dock.bench.image_id) == str(file)


def test_a_layer_from_a_file_that_we_do_not_read_is_kept(start, tmp_path):
    file = tmp_path / "cells.odd"
    file.write_bytes(b"?")
    data = pixels_of((40, 50))
    with layer_source(path=str(file)):
        widget = start(data, name="odd")
    np.testing.assert_array_equal(image_of(widget).read(whole((40, 50)))[0], data)
    assert widget.dock.bench.project.folder == tmp_path / "brushwork" / "odd.brushwork"


def test_a_project_without_a_task_that_cannot_be_written_is_looked_at(open_window, tmp_path):
    np.save(tmp_path / "disc.npy", pixels_of((200, 300)))
    with Project.create(tmp_path / "disc.brushwork") as writer:
        writer.add_image(str(tmp_path / "disc.npy"))
        writer.flush()
        p = open_window(writer.folder)
        assert "Read only" in p.dock.project_label.text()
        assert p.dock.images.box.currentText() == "disc.npy"
        assert p.dock.bench.classes == ()
        assert "only be looked at" in p.dock.status.text()
        p.stroke([(20, x) for x in range(30, 160, 6)])
        assert "no task" in p.dock.message.text()
        assert not np.asarray(p.dock.scene.strokes.layer.data).any()
        for button in ("Undo", "+ class", "Export ..."):
            next(b for b in p.dock.findChildren(QPushButton) if b.text() == button).click()
            assert p.dock.message.text() != ""
        p.dock.project_panel.title.setChecked(True)
        p._wait(300)
        p.keep("nothing-to-paint")
        p.dock.close_project()


# ---------------------------------------------------------------- without a window


def test_the_project_of_an_address_lies_in_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert project_beside("data/cells.ome.tif") == tmp_path / "data" / "cells.brushwork"
    for address in ("https://a.org/b/brain.ome.zarr", "s3://bucket/brain.zarr", "https://a.org/brain.ome.zarr/"):
        assert project_beside(address) == tmp_path / "brain.brushwork"


def test_an_image_that_is_known_is_opened_again_without_its_axes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("stack.npy", pixels_of((6, 40, 50)))
    folder = tmp_path / "stack.brushwork"
    with pytest.raises(InputError, match="axes"):
        open_project(folder, ["stack.npy"], failed=print)
    open_project(folder, ["stack.npy"], failed=print, axes="zyx").close()
    for uri in ("stack.npy", str(tmp_path / "stack.npy")):
        with open_project(folder, [uri], failed=print, axes=None) as project:
            assert [entry.axes for entry in project.document.images] == ["zyx"]
    (tmp_path / "other").mkdir()
    np.save("other/stack.npy", pixels_of((40, 50)))
    monkeypatch.chdir(tmp_path / "other")
    with pytest.raises(InputError, match="cannot join"):
        open_project(folder, ["stack.npy"], failed=print)


def test_nothing_is_made_for_an_image_that_cannot_be_opened(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.tif does not exist"):
        open_project(tmp_path / "nothing.brushwork", [str(tmp_path / "nothing.tif")], failed=print)
    assert not list(tmp_path.iterdir())
