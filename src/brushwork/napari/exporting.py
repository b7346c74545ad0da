"""Writing predictions from the window: this image, every image of the project, or files; in a thread, with progress and cancel."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QFileDialog,
    QFormLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
)

from brushwork.blocks import middle
from brushwork.classifier import Classifier
from brushwork.errors import InputError, RunError
from brushwork.image import Image
from brushwork.io import open_image
from brushwork.io.places import stem
from brushwork.jobs import OUTPUTS, RECORD, Settings, asked, predict, record, stamp
from brushwork.napari import texts
from brushwork.napari.parts import row
from brushwork.project import ImageEntry, Project
from brushwork.report import write_report
from brushwork.workbench import Workbench

FORMATS = {"OME-Zarr": ".ome.zarr", "TIFF": ".tif", "HDF5": ".h5", "NumPy": ".npy", "PNG": ".png"}
KINDS = tuple(kind for kind in OUTPUTS if kind != "features")
SAMPLE = 512  # pixels; the box in the middle on which intensities are compared
CANCELLED = "Cancelled. Write goes on with what is missing."
FAR, VERY_FAR = 1.5, 3.0  # times brighter or darker than what was trained on


class Cancelled(Exception):
    """The user wants no more; what is complete stays, and the same export goes on later."""


class Export(QObject):
    """One run over some images, in a thread of its own, with a report at its end."""

    progressed = Signal(int, int, int)  # image, pixels done, pixels in all
    wrote = Signal(int, str)
    failed = Signal(int, str)
    ended = Signal(str)  # where the report is, or why there is none

    def __init__(
        self,
        trained: Callable[[], tuple[Classifier, Path]],
        images: Sequence[tuple["Chosen", Path]],
        output: str,
        *,
        overwrite: bool = False,
    ) -> None:
        """trained : gives the model and its file; called in the thread."""
        super().__init__()
        self._trained, self._images, self._settings = trained, list(images), Settings(output)
        self._overwrite = overwrite
        self._cancel, self._is_abandoned = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="brushwork-export", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def cancel(self) -> None:
        """End after the block in hand; returns at once."""
        self._cancel.set()

    def abandon(self) -> None:
        """The same, and tell no more: the window may be gone by then."""
        self._is_abandoned = True
        self.cancel()

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            model, file = self._trained()
        except Exception as error:
            self._tell("ended", str(error))
            return
        self._write_all(model, file)
        self._tell("ended", CANCELLED if self._cancel.is_set() else self._reported())

    def _tell(self, signal: str, *values: Any) -> None:
        if not self._is_abandoned:
            getattr(self, signal).emit(*values)

    def _write_all(self, model: Classifier, file: Path) -> None:
        for i, (chosen, path) in enumerate(self._images):
            if self._cancel.is_set():
                break
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._write(i, model, file, chosen, path)
                self._tell("wrote", i, str(path))
            except Cancelled:
                self._tell("failed", i, "cancelled")
            except Exception as error:
                self._tell("failed", i, str(error) or type(error).__name__)

    def _reported(self) -> str:
        """Write the report of everything that the folder holds; in words, where it is."""
        folder = self._images[0][1].parent if self._images else None
        if folder is None or not (folder / RECORD).exists():
            return "nothing new was written"
        try:
            return f"report: {write_report(folder)}"
        except (InputError, RunError) as error:
            return str(error)

    def _write(self, i: int, model: Classifier, file: Path, chosen: "Chosen", path: Path) -> None:
        def show(stage: str, done: int, total: int) -> None:
            if self._cancel.is_set():
                raise Cancelled
            self._tell("progressed", i, done, total)

        began, image, left_out = time.perf_counter(), chosen.image, chosen.left_out
        given: dict[str, Any] = {"output": self._settings.output, "ignore": left_out, "overwrite": self._overwrite}
        predict(model, image, path, **given, progress=show)
        wanted = asked(model, self._settings, **({"ignore": f"all but {left_out.uri}"} if left_out is not None else {}))
        entry = {
            "image": image.uri, "stamp": stamp(image.uri), "output": path.name, "kind": self._settings.output,
            "model_hash": wanted["model_hash"], "asked": wanted, "axes": image.axes, "level": None,
            "pixel_size": image.pixel_size, "seconds": round(time.perf_counter() - began, 2),
        }  # fmt: skip
        record(path.parent, file, self._settings, entry)


@dataclass(frozen=True, eq=False)
class Chosen:
    """An image to predict, as it is called. left_out : what its mask leaves out, None without one."""

    path: str
    image: Image
    left_out: Image | None = None


def _of_project(project: Project, entry: ImageEntry) -> Chosen:
    """Raises InputError where the image or its mask is not found."""
    from brushwork.interchange.ilp_images import LeftOut

    left_out = LeftOut(project.image(entry.mask.id)) if entry.mask is not None else None
    return Chosen(entry.path, project.image(entry.id), left_out)


def _of_file(path: str, like: str) -> Chosen:
    return Chosen(path, open_image(path, like=like))


def brightness(image: Image) -> tuple[float, ...]:
    """How bright each channel is: the 99th percentile less the 1st, of a box in the middle."""
    ndim = len(image.shape)
    pixels = image.read(middle(image.shape, (1, SAMPLE, SAMPLE)[-ndim:]))
    low, high = np.nanpercentile(pixels, (1, 99), axis=tuple(range(1, ndim + 1)))
    return tuple(np.maximum(high - low, 1e-6).tolist())


def shift(image: Image, trained: Sequence[Sequence[float]]) -> str:
    """In words, how far an image's brightness is from those that were trained on; "like the training" where it is near."""
    mine = brightness(image)
    far = min(max(max(a / b, b / a) for a, b in zip(mine, theirs)) for theirs in trained)
    if far < FAR:
        return "like the training"
    return f"{far:.1f} times brighter or darker" + (": do not trust it" if far >= VERY_FAR else "")


class ExportDialog(QDialog):
    """What, where and how; a line per image with its light, and the progress."""

    def __init__(self, bench: Workbench, parent: Any = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Export predictions")
        self._bench = bench
        self.export: Export | None = None
        self._learnt = bench.learn()
        self._images: list[Chosen] = [_of_project(bench.project, bench.entry)]
        self._lights = [brightness(bench.project.image(i)) for i in bench.painted_images() if i not in bench.lost]
        self.kind, self.format = QComboBox(), QComboBox()
        self.kind.addItems(KINDS)
        self.format.addItems(FORMATS)
        self.folder = bench.project.folder.parent / f"{bench.project.folder.stem}_results"
        self.where = QPushButton(str(self.folder))
        self.where.clicked.connect(self._choose_folder)
        form = QFormLayout()
        form.addRow("What", self.kind)
        form.addRow("Format", self.format)
        form.addRow("Folder", self.where)
        self.table = QTableWidget(0, 4)
        self.table.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        self.table.setHorizontalHeaderLabels(["image", "written as", "brightness", ""])
        every, files = QPushButton("All images of the project"), QPushButton("Other images ...")
        every.clicked.connect(self.take_all)
        files.clicked.connect(self._choose_files)
        self.replace = QCheckBox("Replace what is there already")
        self.replace.toggled.connect(self.show_images)
        self.bar = QProgressBar()
        self.words = QLabel()
        self.words.setWordWrap(True)
        self.write, self.stop = QPushButton("Write"), QPushButton("Cancel")
        self.write.clicked.connect(self.start)
        self.stop.clicked.connect(self._stop)
        column = QVBoxLayout(self)
        column.addLayout(form)
        column.addLayout(row(every, files))
        column.addWidget(self.table)
        column.addWidget(self.replace)
        column.addWidget(self.bar)
        column.addWidget(self.words)
        column.addLayout(row(self.write, self.stop))
        for box in (self.kind, self.format):
            box.currentTextChanged.connect(self.show_images)
        self._choices = (self.kind, self.format, self.where, every, files, self.replace, self.write)
        self.resize(760, 460)
        self.show_images()

    def targets(self) -> list[Path]:
        suffix = FORMATS[self.format.currentText()]
        return [self.folder / f"{stem(c.path)}_{self.kind.currentText()}{suffix}" for c in self._images]

    def show_images(self) -> None:
        """A line per image, with the name it will have and how like the training it is."""
        self.table.setRowCount(len(self._images))
        for i, (chosen, target) in enumerate(zip(self._images, self.targets())):
            path = chosen.path
            try:
                self._learnt.model.check_image(chosen.image)
                words = shift(chosen.image, self._lights)
            except InputError as error:
                words = texts.by_name(str(error), path)
            light = QTableWidgetItem(words)
            light.setToolTip(words)
            light.setForeground(_color(words))
            kept = "there already: it is " + ("replaced" if self.replace.isChecked() else "kept")
            state = kept if target.exists() else ""
            for column, (item, whole) in enumerate(((Path(path).name, path), (target.name, str(target)))):
                self.table.setItem(i, column, QTableWidgetItem(item))
                self.table.item(i, column).setToolTip(whole)
            self.table.setItem(i, 2, light)
            self.table.setItem(i, 3, QTableWidgetItem(state))
        self.table.resizeColumnsToContents()

    def take_all(self) -> None:
        """Every image of the project."""
        project = self._bench.project
        self._take([(e.path, partial(_of_project, project, e)) for e in project.document.images])

    def take_files(self, paths: Sequence[str]) -> None:
        like = self._learnt.model.axes
        self._take([(path, partial(_of_file, path, like)) for path in paths])

    def _take(self, given: Sequence[tuple[str, Callable[[], Chosen]]]) -> None:
        """Open them; what cannot be opened is told."""
        self._images, wrong = [], []
        for path, opened in given:
            try:
                self._images.append(opened())
            except InputError as error:
                wrong.append(texts.by_name(str(error), path))
        self.words.setText("\n".join(wrong))
        self.show_images()

    def _choose_folder(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Folder for the results", str(self.folder.parent))
        if chosen:
            self.folder = Path(chosen)
            self.where.setText(chosen)
            self.show_images()

    def _choose_files(self) -> None:
        paths, _ = QFileDialog.getOpenFileNames(self, "Images to predict")
        if paths:
            self.take_files(paths)

    def start(self) -> None:
        """Write what is not there yet, or all; the window stays usable."""
        replace = self.replace.isChecked()
        self._rows = [i for i, target in enumerate(self.targets()) if replace or not target.exists()]
        if not self._rows:
            self.words.setText("There is nothing to write; tick the box to replace what is there.")
            return
        meeting = self._meeting()
        if meeting:
            self.words.setText(meeting)
            return
        chosen = [(self._images[i], self.targets()[i]) for i in self._rows]
        self.export = Export(self._kept_model, chosen, self.kind.currentText(), overwrite=replace)
        self.export.progressed.connect(self._progressed)
        self.export.wrote.connect(self._wrote)
        self.export.failed.connect(self._say)
        self.export.ended.connect(self._ended)
        self._allow_choices(False)
        self.words.clear()
        self.export.start()

    def _meeting(self) -> str:
        """In words, which images would be written to one file; "" where none would."""
        targets = [self.targets()[i] for i in self._rows]
        for i, target in enumerate(targets):
            if target in targets[:i]:
                first, second = (self._images[self._rows[k]].path for k in (targets.index(target), i))
                return f"{first} and {second} would both be written as {target.name}; export them apart, into other folders."
        return ""

    def _allow_choices(self, allowed: bool) -> None:
        for widget in self._choices:
            widget.setEnabled(allowed)

    def _wrote(self, i: int, path: str) -> None:
        self._say(i, "written")

    def _progressed(self, i: int, done: int, total: int) -> None:
        self.bar.setValue(int(100 * (i + done / max(total, 1)) / max(len(self._rows), 1)))

    def _say(self, i: int, words: str) -> None:
        self.table.setItem(self._rows[i], 3, QTableWidgetItem(words))
        self.bar.setValue(int(100 * (i + 1) / len(self._rows)))
        self.table.resizeColumnsToContents()

    def _kept_model(self) -> tuple[Classifier, Path]:
        """With its accuracy, among the project's models; of a project that is read only, in the folder of the results."""
        if not self._bench.project.read_only:
            return self._bench.keep(self._learnt)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._learnt.model.save(self.folder / "model.bwm")
        return self._learnt.model, self.folder / "model.bwm"

    def _ended(self, words: str) -> None:
        self._allow_choices(True)
        self.words.setText(words)

    def _stop(self) -> None:
        if self.export is not None and self.export.is_running:
            self.export.cancel()
        else:
            self.close()

    def cancel(self) -> None:
        """End what is being written, which tells no more; the same export goes on with it later."""
        if self.export is not None:
            self.export.abandon()

    def reject(self) -> None:
        """The window's button, and Escape."""
        self.cancel()
        super().reject()


def _color(words: str) -> Any:
    from qtpy.QtGui import QColor

    bad = "#D55E00" if "do not trust" in words or "trained" in words else "#E69F00"
    return QColor("#009E73" if words == "like the training" else bad)
