"""Ways into the dock: files from the command line, an image layer from napari's menu, a project that is opened."""

import gc
import re
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtWidgets import QLabel, QPushButton, QVBoxLayout, QWidget

from brushwork.errors import InputError, RunError
from brushwork.image import SPATIAL
from brushwork.io import open_image
from brushwork.io.places import file_of, is_remote, is_there, noted, opened_at, stem
from brushwork.io.units import um_per
from brushwork.napari import texts
from brushwork.napari.dock import Dock
from brushwork.napari.keys import bind, bind_undo, unbind
from brushwork.project import Project
from brushwork.project_folder import IMAGES
from brushwork.project_suffix import SUFFIX
from brushwork.workbench import Workbench

FIRST_TASK = "main"
FIRST_CLASSES = ("background", "foreground")
DOCK_NAME = "brushwork"
HOME = "brushwork"  # in the home folder: projects of images that are in no file
MOST_KEPT = 8 << 30  # bytes of such an image
SHOWN = "t" + SPATIAL  # what napari's last axes are taken for


def project_beside(uri: str) -> Path:
    """Where the project of an image goes that was opened without one: cells.ome.tif -> cells.brushwork, beside it.

    That of an address goes into the current folder.
    """
    home = Path.cwd() if is_remote(uri) else file_of(uri).absolute().parent
    return home / (stem(uri) + SUFFIX)


def open_project(
    folder: Path, images: Sequence[str] = (), *, failed: Callable[[Exception], None], **how: Any
) -> Project:
    """The project in a folder, made where there is none, with these images in it.

    how : axes=, level=, pixel_size= of images that are added (Project.add_image).
    """
    if not folder.exists():
        for uri in images:
            open_image(uri, **how)  # nothing is made for what cannot be opened
    project = Project.open(folder, failed=failed) if folder.exists() else Project.create(folder, failed=failed)
    try:
        if not project.read_only:
            _add_images(project, images, **how)
            _add_classes(project)
    except BaseException:
        project.close()
        raise
    return project


def _add_images(project: Project, images: Sequence[str], **how: Any) -> None:
    """Those that are not where the project has one already, whose axes it knows; if axes are given, all."""
    known = {project.place(entry.id) for entry in project.document.images}
    is_told = any(value is not None for value in how.values())
    for uri in images:
        if is_told or opened_at(noted(uri, project.folder), project.folder) not in known:
            project.add_image(uri, **how)


def _add_classes(project: Project) -> None:
    """A task with classes to begin with, where there is none."""
    if not project.document.tasks:
        project.add_task(FIRST_TASK)
    task = project.document.tasks[0]
    if not task.classes:
        first, *_ = (project.add_class(task.name, name) for name in FIRST_CLASSES)
        project.change_class(task.name, first.id, visible=False)  # what is everywhere would only hide the image


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
    if any(is_remote(uri) for uri in images):
        dock.tell(texts.KEPT_IN.format(folder=dock.bench.project.folder))
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
        except (InputError, RunError, OSError) as error:
            self._words.setText(str(error))

    def _start(self, layer: Any) -> None:
        if layer is None:
            raise InputError(texts.NO_IMAGE)
        how = _how_to_open(layer)
        if how is not None:
            source = str(layer.source.path)
            folder, images = project_beside(source), [source]
            opened = bench_of(folder, images, **how)
        else:
            folder, opened = _in_memory(self._viewer, layer)
        old = [x for x in self._viewer.layers if x.name == layer.name or x in _siblings(self._viewer, layer)]

        self.dock = Dock(self._viewer, opened)
        for x in old:
            x.visible = False
        self._words.hide()
        self.button.hide()
        self._column.insertWidget(0, self.dock, 1)
        _attend(self._viewer, self.dock)
        self.dock.fit_later()
        if how is None or is_remote(str(layer.source.path)):
            self.dock.tell(texts.KEPT_IN.format(folder=folder))
        if layer.source.path is None:  # a sample, mostly
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


def _how_to_open(layer: Any) -> dict[str, Any] | None:
    """How open_image reads the file that a layer is from: as it is, or with the axes as napari shows them; None where it cannot."""
    source = layer.source.path
    if source is None or not is_there(str(source)):
        return None
    with suppress(InputError, RunError):
        open_image(str(source))
        return {}
    with suppress(InputError, RunError):
        axes = _axes_of(layer)
        open_image(str(source), axes=axes)
        return {"axes": axes}
    return None


def _axes_of(layer: Any) -> str:
    """The axes of a layer's array, as napari shows them; raises InputError where they are more than we know."""
    if not 2 <= layer.ndim <= len(SHOWN):
        raise InputError(texts.TOO_MANY_AXES.format(name=layer.name, n=layer.ndim, shape=_first(layer).shape))
    return SHOWN[-layer.ndim :] + ("c" if layer.rgb else "")


def _pixel_size_of(layer: Any) -> tuple[float, ...] | None:
    """Micrometres along the spatial axes of a layer; None where it has no scale."""
    n = min(layer.ndim, len(SPATIAL))
    units = [um_per(str(unit)) for unit in layer.units[-n:]]
    size = tuple(abs(float(s)) * (um or 1) for s, um in zip(layer.scale[-n:], units))
    return None if set(size) == {1.0} and not any(units) else size


def _first(layer: Any) -> Any:
    """A layer's array; of several levels the finest."""
    return layer.data[0] if layer.multiscale else layer.data


def _in_memory(viewer: Any, layer: Any) -> tuple[Path, Callable[..., Workbench]]:
    """(the project's folder, what a Dock opens) of an image that lives in memory only: it is kept in a new project.

    Raises InputError, and makes nothing, where it cannot be worked on.
    """
    channels = _siblings(viewer, layer)
    axes, size = "c" * (len(channels) > 1) + _axes_of(layer), _pixel_size_of(layer)
    n_bytes = sum(_first(x).nbytes for x in channels)
    if n_bytes > MOST_KEPT:
        raise InputError(texts.TOO_LARGE_TO_KEEP.format(name=layer.name, gigabytes=n_bytes / 1e9))
    arrays = [np.asarray(_first(x)) for x in channels]
    pixels = np.stack(arrays) if len(arrays) > 1 else arrays[0]
    name = re.sub(r"[^\w-]+", "_", layer.name).strip("_") or "image"
    numbers = ("", *(f"-{i}" for i in range(2, 10_000)))
    folder = next(f for n in numbers if not (f := Path.home() / HOME / f"{name}{n}{SUFFIX}").exists())

    def opened(changed: Any, failed: Any) -> Workbench:
        Project.create(folder).close()
        try:
            file = folder / IMAGES / f"{name}.npy"
            file.parent.mkdir(exist_ok=True)
            np.save(file, pixels)
            return bench_of(folder, [str(file)], axes=axes, pixel_size=size)(changed, failed)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    return folder, opened


def run(folder: Path, images: Sequence[str] = (), **how: Any) -> None:
    """Open napari with the dock, and return when the window is closed."""
    import napari

    viewer = napari.Viewer(title=f"brushwork: {folder.stem}")
    gc.freeze()  # napari collects garbage for each layer that goes: the next image is there in 1.0 instead of 1.8 seconds
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
