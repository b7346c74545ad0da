"""What is open, painted and shown right now: a project, the image and task in front, and the answers for what is in view. No GUI.

A face calls the methods on its own thread and is told by `changed` what to draw again; answers arrive on the session's thread.
"""

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from brushwork import taken_over
from brushwork.advice import Advisor, Measured, Snapshot
from brushwork.at_hand import AtHand
from brushwork.blocks import Region, middle
from brushwork.classifier import Classifier
from brushwork.counts import Counts
from brushwork.errors import InputError, RunError
from brushwork.exchange import Imported, Meanings, import_labels
from brushwork.explain import Explanation
from brushwork.features import Feature, FeatureSet
from brushwork.image import Image
from brushwork.labels import Labels, from_coords
from brushwork.next_place import Place
from brushwork.overview import Overview
from brushwork.project import ImageEntry, PaintClass, Point, Project, Stroke, Task, Trained
from brushwork.session import Recipe, Session, Shown, Status
from brushwork.tile_store import EDGE, EDGE_3D, SEGMENTATION, UNIT, Answer, TileStore, tiles_of_view

NO_TASK = Task("")  # of a project without one that cannot be changed: it is only looked at
SAMPLE = 1024  # pixels; the box in the middle of an image from which its contrast is chosen
MOST_MAPPED = 1 << 24  # pixels of a view whose feature is shown

Topic = Literal["pixels", "tiles", "strokes", "counts", "classes", "images", "task", "status"]


@dataclass(frozen=True)
class Changed:
    """What a face has to draw again. image, region : of a tile that was answered; region None is everything."""

    topic: Topic
    image: str = ""
    region: Region | None = None


class Workbench:
    """Keeps project, session and tiles in step while someone paints."""

    def __init__(
        self,
        project: Project,
        *,
        changed: Callable[[Changed], None],
        failed: Callable[[Exception], None],
        threads: int | None = None,
    ) -> None:
        self.project = project
        self.changed = changed
        self.tiles = TileStore()
        self._news = threading.Condition()
        self.status: Status | None = None
        self.share = 1.0  # of the view that is asked for; less where it needs too many tiles
        self._at_hand = AtHand(project)
        self.task_name = project.document.tasks[0].name if project.document.tasks else NO_TASK.name
        self.image_id = ""
        self.sample = np.zeros((0, 0, 0), np.float32)  # of the image in front, (c, *spatial)
        self.limit: Region | None = None  # where prediction is wanted; None is everywhere
        self._view: Region | None = None
        self._counts = Counts(project)
        self._advisor = Advisor(failed)
        self._failed = failed
        self._overview: Overview | None = None
        self._session = Session(self._answered, failed, tell=self._told, clear=self._withdrawn, threads=threads)
        self.generation = self._session.use(self._recipe())  # of what was asked last; Status tells which is answered
        self._show_first()
        self._hand_over()

    # ---- what is in front ----

    @property
    def task(self) -> Task:
        return self.project.document.task(self.task_name) if self.project.document.tasks else NO_TASK

    @property
    def entry(self) -> ImageEntry:
        """The image in front; raises InputError where there is none: `image_id` is "" then."""
        if not self.image_id:
            raise InputError("there is no image to work on; add one, or find one that is gone")
        return self.project.document.image(self.image_id)

    @property
    def image(self) -> Image:
        return self.project.image(self.entry.id)

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Of all images alike; none before the first."""
        images = self.project.document.images
        return images[0].channel_names if images else ()

    @property
    def lost(self) -> dict[str, InputError | RunError]:
        """Why images could not be opened, by id; strokes on them wait, until the image is shown, added or linked again."""
        return self._at_hand.lost

    @property
    def classes(self) -> tuple[PaintClass, ...]:
        return self.task.classes

    def _show_first(self) -> None:
        """Put the first image in front that can be opened; none where none can."""
        self.image_id = ""
        self._view = self.limit = None
        for entry in self.project.document.images:
            if self._at_hand.image(entry.id) is not None:
                with suppress(InputError, RunError):  # `lost` says why
                    self.show_image(entry.id)
                    return
        self.changed(Changed("images"))

    def add_image(self, path: str) -> ImageEntry:
        """A further image, or a lost one at its new place; put in front where nothing is, or where it was lost."""
        entry = self.project.add_image(path)
        if not self.image_id or entry.id in self.lost:
            self.show_image(entry.id)
        return entry

    def relink(self, entry_id: str, path: str) -> list[str]:
        """Say where an image is now, and put it in front; others that moved with it are found too. Returns all their ids."""
        found = self.project.relink(entry_id, path)
        self.lost.clear()
        self.show_image(entry_id)
        self.strokes_changed()
        return found

    def show_image(self, entry_id: str) -> None:
        """Put an image in front; raises InputError or RunError where it cannot be opened, e.g. as its file is gone."""
        was_lost = self.lost.pop(entry_id, None) is not None
        image = self._at_hand.image(entry_id)
        if image is None:
            raise self.lost[entry_id]
        try:
            self.sample = _sampled(image)  # what is read may fail: before anything is changed
        except (InputError, RunError) as error:
            self.lost[entry_id] = error
            raise
        self.image_id = entry_id
        self._view = self.limit = None
        self.changed(Changed("images"))
        self.changed(Changed("strokes", entry_id))
        if was_lost:
            self.strokes_changed()

    def overview(self) -> Overview:
        """The image in front from afar, made anew; as it is read, "pixels" have changed."""
        if self._overview is not None:
            self._overview.close()
        image_id, image = self.image_id, self.image
        self._overview = Overview(image, changed=lambda: self.changed(Changed("pixels", image_id)), failed=self._failed)
        return self._overview

    def step_image(self, by: int) -> None:
        """The next image that can be opened, or the one before; raises what is wrong with the nearest where none can."""
        ids = [entry.id for entry in self.project.document.images]
        if not ids:
            return
        now = ids.index(self.image_id) if self.image_id else min(-by, 0)
        there = [ids[(now + by * k) % len(ids)] for k in range(1, len(ids) + 1)]
        self.show_image(next((i for i in there if i not in self.lost), there[0]))

    def choose_task(self, name: str) -> None:
        if name not in [t.name for t in self.project.document.tasks]:
            raise InputError(f"there is no task {name!r}")
        self.task_name = name
        self._restart()
        self.changed(Changed("task"))
        self.changed(Changed("classes"))

    def add_task(self, name: str) -> None:
        """A further task, with the first classes' names and colours to begin with; it is put in front."""
        self.choose_task(self._new_task(name, self.classes[:2]))

    def _new_task(self, name: str, like: Sequence[PaintClass]) -> str:
        added = self.project.add_task(name)
        for c in like:
            made = self.project.add_class(added.name, c.name, c.color, prediction_color=c.prediction_color)
            self.project.change_class(added.name, made.id, visible=c.visible)
        return added.name

    def restore(self, point: Point) -> None:
        """Go back to an earlier state of the project; one from before its first task gets the task in front, unpainted."""
        before = self.task
        self.project.restore(point)
        self.lost.clear()  # images are looked for where they were then
        document = self.project.document
        tasks = [t.name for t in document.tasks]
        if not tasks:
            self._new_task(before.name, before.classes)
        elif before.name not in tasks:
            self.task_name = tasks[0]
        if self.image_id not in [e.id for e in document.images] or self._at_hand.image(self.image_id) is None:
            self._show_first()
        else:
            self.changed(Changed("images"))
        self._restart()
        self.changed(Changed("task"))
        self.changed(Changed("classes"))

    def look(self, view: Region) -> None:
        """Say what is in view: one pixel thick along the axis that is not displayed."""
        if view == self._view or not self.image_id:
            return
        self._view = view
        self._ask()

    def limit_to(self, region: Region | None) -> None:
        """Predict inside a box of the image in front only, in every frame; None lifts that."""
        self.limit = region
        self._ask()

    def _ask(self) -> None:
        if self._view is None:
            return
        view = self._view if self.limit is None else _common(self._view, self.limit)
        edge, unit = (EDGE, UNIT) if self._is_in_2d() else (EDGE_3D, None)
        wanted = tiles_of_view(self.image.shape, view, edge=edge, unit=unit)
        self.share = wanted.share
        self._session.look(self.image_id, self.image, wanted.tiles)

    def _is_in_2d(self) -> bool:
        return all(f.in_2d for f in FeatureSet.parse(self.task.features).resolved(self.image).features)

    def map_in_view(self, family: str, sigma: float) -> tuple[Region, NDArray[np.float32]]:
        """The view and one feature of it, (n_maps, *spatial) on every channel; nothing is kept. Any thread may call it."""
        image, view = self.image, self._view
        if view is None:
            raise InputError("nothing is in view yet")
        if view.size > MOST_MAPPED:
            raise InputError(f"the view holds {view.size:,} pixels; zoom in to see the feature")
        features = FeatureSet((Feature(family, sigma),)).resolved(image)
        return view, features.at(image, features.block(image, view))

    # ---- painting ----

    def paint(
        self, coords: NDArray[np.int64], class_id: int, *, origin: str = "brush", check: bool = False, image: str = ""
    ) -> Stroke:
        """A stroke on an image, by its id, or on the one in front; class 0 erases. coords : (n, [1 +] ndim)."""
        entry = image or self.image_id
        stroke = self.project.paint(self.task_name, entry, class_id, coords, origin=origin, check=check)
        self._hand_over()
        self.changed(Changed("counts"))
        return stroke

    def undo(self) -> Stroke | None:
        return self._history(self.project.undo(self.task_name, self.entry.id))

    def redo(self) -> Stroke | None:
        return self._history(self.project.redo(self.task_name, self.entry.id))

    def _history(self, stroke: Stroke | None) -> Stroke | None:
        if stroke is not None:
            self.strokes_changed()
        return stroke

    def strokes_changed(self) -> None:
        """Other strokes than before are on the image: draw them, learn from them."""
        self._hand_over()
        self.changed(Changed("strokes", self.image_id))
        self.changed(Changed("classes"))

    def labels(self, *, check: bool = False) -> Labels:
        """What is painted on the image in front, classes as ids: to learn from, or to check with."""
        if self.task is NO_TASK:
            return from_coords(np.zeros((0, len(self.entry.extent)), np.int64), np.zeros(0, np.uint8), self.entry.shape)
        return self.project.labels(self.task_name, self.entry.id, check=check)

    def counts(self) -> dict[int, tuple[int, int]]:
        """(pixels, strokes) painted per class id, over all images."""
        return self._counts.of(self.task)

    def painted_images(self) -> list[str]:
        """Ids of the images with strokes, in the order of the project."""
        return self._at_hand.painted(self.task)

    # ---- classes ----

    def add_class(self, name: str, color: str | None = None) -> PaintClass:
        added = self.project.add_class(self.task_name, name, color)
        self.changed(Changed("classes"))
        return added

    def change_class(self, class_id: int, **what: Any) -> None:
        """Another name, color or visible (Project.change_class)."""
        before = self.task.paint_class(class_id)
        if self.project.change_class(self.task_name, class_id, **what).name != before.name:
            self._hand_over()  # a model names its classes
        self.changed(Changed("classes"))
        self.changed(Changed("tiles"))

    def delete_class(self, class_id: int) -> None:
        self.project.delete_class(self.task_name, class_id)
        self.strokes_changed()

    def merge_classes(self, from_id: int, into_id: int) -> None:
        self.project.merge_classes(self.task_name, from_id, into_id)
        self.strokes_changed()

    def reorder_classes(self, ids: Sequence[int]) -> None:
        self.project.reorder_classes(self.task_name, ids)
        self.strokes_changed()

    # ---- strokes that no hand painted ----

    def accept(self, region: Region) -> list[Stroke]:
        """Take the prediction of a region over as strokes (taken_over.of_prediction)."""
        ids = self.tiles.picture(self.image_id, SEGMENTATION, region)
        painted = (self.labels(), self.labels(check=True))
        found = taken_over.of_prediction(ids, region, self.image, self.classes, painted)
        done = [self.project.paint(self.task_name, self.image_id, i, at, origin="prediction") for at, i in found]
        self.strokes_changed()
        return done

    def import_labels(self, path: str, mapping: Meanings, *, offset: Sequence[int] | None = None) -> Imported:
        """Paint what a file holds on the image in front; classes that there are not are made (exchange.import_labels)."""
        image, task = self.entry.id, self.task_name
        done = import_labels(
            self.project, path, image=image, task=task, mapping=mapping, offset=offset, new_classes=True
        )
        self.strokes_changed()
        return done

    # ---- learning ----

    def change_recipe(self, **what: Any) -> None:
        """Other features, channels, estimator, priors or seed (Project.change_task)."""
        self.project.change_task(self.task_name, **what)
        self._restart()
        self.changed(Changed("task"))

    @property
    def live(self) -> bool:
        return self._session.live

    @live.setter
    def live(self, wanted: bool) -> None:
        self._session.live = wanted
        self.changed(Changed("status"))

    def update_once(self) -> None:
        self._session.update_once()

    @property
    def model(self) -> Classifier | None:
        """The newest model; None before two classes are painted."""
        return self._session.model

    def learn(self) -> Trained:
        """A model of what is painted now, with the names and colours of now; trained here and now."""
        return self._learnt(self.task_name)

    def _imported(self) -> Trained | None:
        return self.project.imported(self.task_name) if self.project.document.tasks else None

    def _learnt(self, task: str) -> Trained:
        return self.project.imported(task) or self.project.learn(task)

    def keep(self, trained: Trained) -> tuple[Classifier, Path]:
        """What was learnt, with its accuracy, kept among the project's models; and its file. Any thread may call it.

        Where its task is another by now, that is learnt instead.
        """
        name = trained.task.name
        if not trained.is_of(self.project.document.task(name)):
            trained = self._learnt(name)
        model = self.project.keep(trained)
        return model, self.project.folder / self.project.document.task(name).models[-1].file

    def _recipe(self) -> Recipe:
        task = self.task
        return Recipe(FeatureSet.parse(task.features), task.channels, task.estimator, task.priors, task.seed)

    def _restart(self) -> None:
        self._advisor.stop()
        self._session.use(self._recipe())
        self._hand_over()
        self.tiles.clear()
        self._ask()
        self.changed(Changed("strokes", self.image_id))
        self.changed(Changed("tiles"))

    def _hand_over(self) -> None:
        """Give the session the newest strokes."""
        examples = self._at_hand.examples(self.task)
        imported = self._imported()
        known = imported.model if imported is not None else None
        self.generation = self._session.paint(examples, tuple((c.id, c.name) for c in self.classes), known=known)

    # ---- how good it is, and where to paint next: aside, as they take a moment ----

    def measure(self, done: Callable[[Measured], None]) -> None:
        """See Advisor.measure; of what another program learnt there is nothing to tell."""
        if self._imported() is not None:
            done(Measured())
        else:
            self._advisor.measure(self._snapshot(), done)

    def stop_measuring(self) -> None:
        self._advisor.stop_measuring()

    def find_place(self, done: Callable[[Place | None], None], *, everywhere: bool) -> None:
        """Where to paint next, in any image of the project or in view only; see Advisor.find_place."""
        ids = [e.id for e in self.project.document.images] if everywhere else []
        images = self._at_hand.images(ids) or {self.image_id: self.image}
        self._advisor.find_place(self._snapshot(), images, None if everywhere else self._view, done)

    def explain(self, at: Sequence[int], done: Callable[[Explanation, tuple[str, ...]], None]) -> None:
        """Why a pixel of the image in front is predicted as it is, with the ids of the images that its examples are of.

        at : ([t,] *spatial). See Advisor.explain.
        """
        now = self._snapshot()
        self._advisor.explain(now, self.image, at, lambda found: done(found, tuple(now.learnt)))

    def suggest(self, done: Callable[[str, str], None]) -> None:
        """See Advisor.suggest."""
        self._advisor.suggest(self._snapshot(), done)

    def _snapshot(self) -> Snapshot:
        task = self.task
        return Snapshot(task, self._at_hand.examples(task), self._at_hand.examples(task, check=True))

    # ---- called by the session, on its thread ----

    def _answered(self, shown: Shown) -> None:
        self.tiles.put(shown.image, Answer.of(shown.region, shown.generation, shown.classes, shown.probabilities))
        self.changed(Changed("tiles", shown.image, shown.region))

    def _withdrawn(self) -> None:
        self.tiles.clear()
        self.changed(Changed("tiles"))

    def _told(self, status: Status) -> None:
        with self._news:
            self.status = status
            self._news.notify_all()
        self.changed(Changed("status"))

    def wait(self, seconds: float) -> None:
        """Wait for the next answer or change of status, at most that long: for those who have no window to run."""
        with self._news:
            self._news.wait(seconds)

    def close(self) -> None:
        """Stop and save; raises RunError where strokes cannot be written, and may be called again then."""
        self._advisor.close()
        if self._overview is not None:
            self._overview.close()
        self._session.close()
        self.project.close()
        self.tiles.clear()


def _common(a: Region, b: Region) -> Region:
    """The box that lies in both, perhaps without pixels."""
    start = tuple(max(p, q) for p, q in zip(a.start, b.start))
    return Region(start, tuple(max(min(p, q), s) for p, q, s in zip(a.stop, b.stop, start)), a.t)


def _sampled(image: Image) -> NDArray[np.float32]:
    """A box in the middle of an image, of a stack in one section, (c, *spatial). Raises InputError or RunError."""
    try:
        return image.read(middle(image.shape, (1, SAMPLE, SAMPLE)[-len(image.shape) :]))
    except (InputError, RunError):
        raise
    except Exception as error:
        raise RunError(f"{image.uri} cannot be read: {error}; copy it again, or leave it out") from error
