"""Ways into the dock: files from the command line, an image layer from napari's menu, a project that is opened."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtWidgets import QLabel, QPushButton, QVBoxLayout, QWidget

from brushwork.errors import InputError
from brushwork.io.places import stem
from brushwork.napari import texts
from brushwork.napari.dock import Dock
from brushwork.napari.keys import bind, bind_undo, unbind
from brushwork.project import Project
from brushwork.project_folder import SUFFIX
from brushwork.workbench import Workbench

FIRST_TASK = "main"
FIRST_CLASSES = ("background", "foreground")
DOCK_NAME = "brushwork"


def project_beside(uri: str) -> Path:
    """Where the project of an image goes that was opened without one: cells.ome.tif -> cells.brushwork, beside it."""
    path = Path(uri).absolute()
    return path.with_name(stem(uri) + SUFFIX)


def open_project(
    folder: Path, images: Sequence[str] = (), *, failed: Callable[[Exception], None], **how: Any
) -> Project:
    """The project in a folder, made where there is none, with these images in it.

    how : axes=, level=, pixel_size= of images that are added (Project.add_image).
    """
    project = Project.open(folder, failed=failed) if folder.exists() else Project.create(folder, failed=failed)
    try:
        known = {entry.path for entry in project.document.images}
        for uri in images:
            if uri not in known and not project.read_only:
                project.add_image(uri, **how)
        if not project.document.tasks:
            project.add_task(FIRST_TASK)
        task = project.document.tasks[0]
        if not task.classes and not project.read_only:
            for name in FIRST_CLASSES:
                project.add_class(task.name, name)
            # What is everywhere would only hide the image.
            project.change_class(task.name, project.document.tasks[0].classes[0].id, visible=False)
    except BaseException:
        project.close()
        raise
    return project


def bench_of(folder: Path, images: Sequence[str], **how: Any) -> Callable[..., Workbench]:
    """What a Dock opens: a workbench over the project; the project is closed again where that fails."""

    def opened(changed: Any, failed: Any) -> Workbench:
        project = open_project(folder, images, failed=failed, **how)
        try:
            return Workbench(project, changed=changed, failed=failed)
        except BaseException:
            project.close()
            raise

    return opened


def add_dock(viewer: Any, folder: Path, images: Sequence[str] = (), **how: Any) -> Dock:
    """The dock over a project, in a viewer; painting can begin."""

    dock = Dock(viewer, bench_of(folder, images, **how))
    viewer.window.add_dock_widget(dock, name=DOCK_NAME, area="right")
    _attend(viewer, dock)
    dock.fit_later()
    return dock


def _attend(viewer: Any, dock: Dock) -> None:
    bind(viewer, dock)
    bind_undo(dock)
    dock.scene.on_new_strokes = lambda: bind_undo(dock)
    dock.destroyed.connect(lambda: unbind(viewer, dock))


class Start(QWidget):
    """The plugin's widget: a Start button over the active image, then the dock."""

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self.dock: Dock | None = None
        self._column = QVBoxLayout(self)
        self._words = QLabel(texts.NO_IMAGE)
        self._words.setWordWrap(True)
        self.button = QPushButton("Start")
        self.button.clicked.connect(self.start)
        self._column.addWidget(self._words)
        self._column.addWidget(self.button)
        self._column.addStretch()
        self._show_advice()
        napari_viewer.layers.selection.events.active.connect(self._show_advice)

    def _show_advice(self, event: Any = None) -> None:
        if self.dock is None:
            layer = self._image_layer()
            self._words.setText(f"Classify the pixels of {layer.name}." if layer is not None else texts.NO_IMAGE)
            self.button.setEnabled(layer is not None)

    def _image_layer(self) -> Any:
        layers = self._viewer.layers
        found = [x for x in (layers.selection.active, *layers) if x is not None and type(x).__name__ == "Image"]
        return found[0] if found else None

    def start(self) -> None:
        layer = self._image_layer()
        try:
            self._start(layer)
        except InputError as error:
            self._words.setText(str(error))

    def _start(self, layer: Any) -> None:
        if layer is None:
            raise InputError(texts.NO_IMAGE)
        source = layer.source.path
        if source is not None and Path(source).exists():
            folder, images = project_beside(source), [str(source)]
            how: dict[str, Any] = {}
        else:
            folder, images, how = saved_layers(self._viewer, layer)
        old = [x for x in self._viewer.layers if x.name == layer.name or x in _siblings(self._viewer, layer)]

        self.dock = Dock(self._viewer, bench_of(folder, images, **how))
        for x in old:
            x.visible = False
        self._words.hide()
        self.button.hide()
        self._column.insertWidget(0, self.dock, 1)
        _attend(self._viewer, self.dock)
        self.dock.fit_later()
        if source is None:  # a sample, mostly
            self.dock.tour.begin()

    def closeEvent(self, event: Any) -> None:
        if self.dock is not None:
            self.dock.close_project()
        super().closeEvent(event)


def _siblings(viewer: Any, layer: Any) -> list[Any]:
    """Image layers of the same shape and scale: channels of one image, if they were shown one over the other."""
    images = [x for x in viewer.layers if type(x).__name__ == "Image" and not x.rgb and not x.multiscale]
    same = [x for x in images if x.data.shape == layer.data.shape and tuple(x.scale) == tuple(layer.scale)]
    return same if layer in same and all(x.blending == "additive" for x in same) else [layer]


def saved_layers(viewer: Any, layer: Any) -> tuple[Path, list[str], dict[str, Any]]:
    """An image that lives in memory only, written into a new project's folder: (folder, files, how to open them)."""
    channels = _siblings(viewer, layer)
    name = re.sub(r"[^\w-]+", "_", layer.name).strip("_") or "image"
    home = Path.home() / "brushwork"
    folder = next(f for i in range(1, 10_000) if not (f := home / f"{name}{f'-{i}' if i > 1 else ''}{SUFFIX}").exists())
    arrays = [np.asarray(x.data[0] if x.multiscale else x.data) for x in channels]
    spatial = "zyx"[-(arrays[0].ndim - (1 if layer.rgb else 0)) :]
    axes = ("c" if len(arrays) > 1 else "") + spatial + ("c" if layer.rgb else "")
    pixels = np.stack(arrays) if len(arrays) > 1 else arrays[0]
    size = [float(s) for s in layer.scale[-len(spatial) :]]
    Project.create(folder, failed=lambda error: None).close()
    images = folder / "images"
    images.mkdir(exist_ok=True)
    file = images / f"{name}.npy"
    np.save(file, pixels)
    how: dict[str, Any] = {"axes": axes}
    if set(size) != {1.0}:
        how["pixel_size"] = size
    return folder, [str(file)], how


def run(folder: Path, images: Sequence[str] = (), **how: Any) -> None:
    """Open napari with the dock, and return when the window is closed."""
    import napari

    viewer = napari.Viewer(title=f"brushwork: {folder.stem}")
    dock = add_dock(viewer, folder, images, **how)
    try:
        napari.run()
    finally:
        dock.close_project()


def read_project(path: str) -> Any:
    """napari's reader for NAME.brushwork: opens the dock, adds no layer by itself."""
    return _open_in_viewer if str(path).rstrip("/").endswith(SUFFIX) else None


def _open_in_viewer(path: str) -> list[Any]:
    import napari

    viewer = napari.current_viewer() or napari.Viewer()
    add_dock(viewer, Path(path))
    return [(None,)]
