"""Keeps predictions of what is in view fresh while someone paints: owns time and threads, knows no window."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brushwork.answers import Answer, Asked, Recipe, answer, load
from brushwork.blocks import Region, thread_count
from brushwork.classifier import Classifier
from brushwork.feature_cache import FeatureCache
from brushwork.image import Image
from brushwork.labels import Labels
from brushwork.views import Canvas, Piece, Shown, State, Status, View
from brushwork.workers import Workers

__all__ = ["Recipe", "Session", "Shown", "Status"]
log = logging.getLogger("brushwork")
PATIENCE = 0.25  # seconds that `close` waits for what cannot be interrupted


class _Superseded(Exception):
    """Something newer was asked for: what is being computed is of no use."""


class Session:
    """Trains after every stroke and predicts what is in view. Owns the threads that do so, and what they keep in memory.

    One scheduler thread decides and makes all callbacks; workers compute. Newest wins: strokes painted during a computation are
    answered together, by one training on the last. After `paint` or `use` returned a generation, nothing older is shown; after
    `close` returned, nothing is called. To hold that, other threads' calls of this class wait while a callback runs: callbacks
    should return soon, and not wait for a thread that uses the session.
    """

    def __init__(
        self,
        show: Callable[[Shown], None],
        fail: Callable[[Exception], None],
        *,
        tell: Callable[[Status], None] = lambda status: None,
        clear: Callable[[], None] = lambda: None,
        threads: int | None = None,
        cache_bytes: int = 1 << 30,
    ) -> None:
        """show : a region was predicted. fail : something went wrong; the session goes on. tell : its state changed.

        clear : all that was shown is withdrawn, as fewer than two classes are painted. threads : None is one per processor.
        cache_bytes : of features that are kept.
        """
        self._show, self._fail, self._tell, self._clear = show, fail, tell, clear
        self._workers = Workers(thread_count(threads))
        self._cache = FeatureCache(cache_bytes)
        self._changed = threading.Condition(threading.RLock())
        self._live, self._once, self._closed = True, False, False
        self._status = Status("idle")
        self._has_shown = False  # since `clear`
        self._loaded = ""  # the estimator whose machine code is
        self._forget()
        self._thread = threading.Thread(target=self._run, name="brushwork-session", daemon=True)
        self._thread.start()

    def _forget(self) -> None:
        self._asked, self._answer = Asked(), Answer()
        self._view: View | None = None
        self._tried = 0  # the generation that was trained on last, or failed
        self._shown: set[Region] = set()  # in view, by the newest model
        self._given_up: set[Region] = set()  # in view, failed with the newest model
        self._foreseen: set[Region] = set()  # parts in view whose features were looked after
        self._seconds: tuple[float | None, float | None] = None, None  # to first and full, see Status
        self._cache.use([])

    # -- what callers ask; all of it returns at once ---------------------------------------------------------------------------

    def use(self, recipe: Recipe) -> int:
        """Train so from now on; returns the generation."""
        with self._changed:
            if recipe != self._asked.recipe:
                self._foreseen = set()
                self._ask(recipe=recipe)
            return self._asked.generation

    def paint(
        self,
        examples: Mapping[str, tuple[Image, Labels]],
        classes: Sequence[tuple[int, str]],
        *,
        known: Classifier | None = None,
    ) -> int:
        """The newest labels of every labelled image, by its id; returns the generation.

        examples : in the order of training; an image is the same object each time, as what is computed of it is kept.
        classes : (id, name) of all classes, in the order of probabilities; those that are not painted are left out.
        known : a model of all these classes that answers the labels already: none is trained.
        """
        with self._changed:
            self._ask(examples=tuple(examples.values()), classes=tuple(classes), known=known)
            return self._asked.generation

    def look(self, image_id: str, image: Image, regions: Sequence[Region]) -> None:
        """What is in view, most wanted first. A region that stays in view is shown again only by another model."""
        with self._changed:
            if self._closed:
                return
            before, self._view = self._view, View(image_id, image, tuple(dict.fromkeys(regions)))
            if before is None or not self._view.is_of_same_image(before):
                self._shown, self._foreseen = set(), set()
            self._given_up = set()
            self._shown &= set(self._view.regions)
            self._foreseen &= set(self._view.parts)
            self._use_images()

    @property
    def live(self) -> bool:
        """Whether strokes are answered at once; where not, `update_once` answers them."""
        return self._live

    @live.setter
    def live(self, live: bool) -> None:
        with self._changed:
            self._live = live
            self._changed.notify_all()

    def update_once(self) -> None:
        """Answer the strokes there are, also where that failed before."""
        with self._changed:
            if self._answer.generation != self._asked.generation:
                self._tried = 0
            self._given_up = set()
            self._once = True
            self._changed.notify_all()

    @property
    def model(self) -> Classifier | None:
        """The newest that is trained; None where fewer than two classes were painted."""
        return self._answer.model

    @property
    def model_generation(self) -> int:
        """The generation that `model` answers."""
        return self._answer.generation

    def close(self) -> None:
        """End the threads and forget everything; all other calls do nothing then.

        What cannot be interrupted (a fit, a read) is waited for no longer than a moment; its thread ends after it.
        """
        with self._changed:
            self._closed = True
            self._forget()
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join(PATIENCE)

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _ask(self, **changes: Any) -> None:
        if not self._closed:
            generation = self._asked.generation + 1
            self._asked = replace(self._asked, generation=generation, since=time.perf_counter(), **changes)
            self._use_images()

    def _use_images(self) -> None:
        in_view = [self._view.image] if self._view else []
        self._cache.use([image for image, _ in self._asked.examples] + in_view)
        self._changed.notify_all()

    # -- the scheduler: what to do next ----------------------------------------------------------------------------------------

    def _run(self) -> None:
        while self._do_next():
            pass
        self._workers.close()

    def _do_next(self) -> bool:
        """Wait for something to do and do it; False at the end."""
        step = self._next_step()
        try:
            if step is not None:
                step()
        except _Superseded:
            pass
        except Exception as error:
            self._report(error)
        return step is not None

    def _next_step(self) -> Callable[[], None] | None:
        """Wait for something to do, the most urgent first; None at the end. A step gets what is asked now."""
        with self._changed:
            while not self._closed:
                asked, view, answer = self._asked, self._view, self._answer
                if self._live or self._once:
                    if asked.recipe is not None and asked.classes and self._tried != asked.generation:
                        return partial(self._train, asked)
                    if view is not None and answer.model is not None and self._unpredicted():
                        return partial(self._predict, asked, view, answer, answer.model)
                    self._once = False
                if view is not None and asked.recipe is not None and self._unforeseen():
                    return partial(self._foresee, asked, asked.recipe, view)
                if self._status.state in ("features", "training", "predicting"):
                    return partial(self._rest, asked)
                self._changed.wait()
        return None

    def _unpredicted(self) -> list[Piece]:
        """What is in view and is to be predicted by the newest model, most wanted first."""
        if self._view is None or self._answer.generation != self._asked.generation:
            return []
        return [piece for piece in self._view.pieces if piece[0] not in self._shown | self._given_up]

    def _unforeseen(self) -> list[Region]:
        """What is in view and whose features nobody looked after, most wanted first."""
        return [part for part in self._view.parts if part not in self._foreseen] if self._view else []

    def _check(self, asked: Asked, view: View | None = None) -> None:
        """Raise _Superseded where others than these labels and recipe, or another image than in this view, are wanted."""
        if self._closed or self._asked is not asked:
            raise _Superseded
        if view is not None and (self._view is None or not self._view.is_of_same_image(view)):
            raise _Superseded

    def _deliver(self, callback: Callable[..., None], *values: Any) -> None:
        with self._changed:
            if not self._closed:
                callback(*values)

    def _say(self, state: State, fraction: float = 0.0) -> None:
        status = Status(state, fraction, self._asked.generation, *self._seconds)
        if status != self._status:
            self._status = status
            self._deliver(self._tell, status)

    def _rest(self, asked: Asked) -> None:
        with self._changed:
            self._check(asked)
            is_fresh = self._answer.model is not None and self._answer.generation == asked.generation
            self._say("ready" if is_fresh else "idle", self._share_shown() if is_fresh else 0.0)

    def _report(self, error: Exception) -> None:
        try:
            self._say("failed")
            self._deliver(self._fail, error)
        except Exception:
            log.exception("a callback of the session failed while %r was reported", error)

    # -- the steps -------------------------------------------------------------------------------------------------------------

    def _train(self, asked: Asked) -> None:
        rows_of = partial(self._cache.rows_of, threads=self._workers.n, go_on=partial(self._check, asked))

        self._say("training")
        try:
            answered = answer(asked, rows_of=rows_of, threads=self._workers.n)
        finally:
            with self._changed:
                if self._asked is asked:
                    self._tried = asked.generation
        with self._changed:
            self._check(asked)
            self._answer, self._seconds = answered, (None, None)
            self._shown, self._given_up = set(), set()
            if answered.model is None and self._has_shown:
                self._has_shown = False
                self._deliver(self._clear)

    def _predict(self, asked: Asked, view: View, answered: Answer, model: Classifier) -> None:
        check = partial(self._check, asked, view)

        def wanted() -> list[Piece]:
            with self._changed:
                check()
                return self._unpredicted()

        def predicted(piece: Piece) -> NDArray[np.float32]:
            return view.probabilities(self._cache, model, piece[1], check)

        self._say("predicting", self._share_shown())
        canvases: dict[Region, Canvas] = {}
        failures: list[Exception] = []  # the first; emptied when it is raised, as it would keep itself alive
        for outcome in self._workers.each(wanted, predicted):
            region, part = outcome.item
            try:
                model.check_image(view.image)
                if canvases.setdefault(region, Canvas(region, model.n_classes)).add(part, outcome.result()):
                    pixels = canvases.pop(region).pixels
                    self._show_region(
                        check, Shown(view.image_id, region, answered.generation, pixels, answered.classes)
                    )
            except _Superseded:
                raise
            except Exception as error:
                self._give_up(check, region)
                failures = failures or [error]
        if failures:
            raise failures.pop()

    def _give_up(self, check: Callable[[], None], region: Region) -> None:
        with self._changed:
            check()
            self._given_up.add(region)

    def _show_region(self, check: Callable[[], None], shown: Shown) -> None:
        """Show it where it is still in view, note how long the answer took, and say how much of the view is done."""
        with self._changed:
            check()
            if self._view is None or shown.region not in self._view.regions:
                return
            self._shown.add(shown.region)
            self._has_shown = True
            self._deliver(self._show, shown)
            share, seconds = self._share_shown(), time.perf_counter() - self._asked.since
            first, full = self._seconds
            self._seconds = first or seconds, full or (seconds if share == 1 else None)
            self._say("ready" if share == 1 else "predicting", share)

    def _share_shown(self) -> float:
        regions = self._view.regions if self._view else ()
        return sum(region in self._shown for region in regions) / max(len(regions), 1)

    def _foresee(self, asked: Asked, recipe: Recipe, view: View) -> None:
        """Load machine code and compute the features of what is in view, before anyone waits for them."""
        check, wish = partial(self._check, asked, view), (self._live, self._once)

        def wanted() -> list[Region]:
            with self._changed:
                check()
                may_predict = self._answer.model is not None and (self._live or self._once)
                if wish != (self._live, self._once) or (may_predict and self._unpredicted()):
                    raise _Superseded  # answers first
                return self._unforeseen()

        self._say("features", self._share_foreseen())
        try:
            features = recipe.settled([image for image, _ in asked.examples] or [view.image])
            self._load(recipe.estimator, features.n_maps, check)
            for outcome in self._workers.each(wanted, lambda part: view.maps(self._cache, features, part, check)):
                outcome.result()
                with self._changed:
                    check()
                    self._foreseen.add(outcome.item)
                self._say("features", self._share_foreseen())
        except _Superseded:
            raise
        except Exception:
            with self._changed:  # it would fail again; predictions will say what is wrong with which region
                check()
                self._foreseen.update(view.parts)
            raise

    def _load(self, estimator: str, n_maps: int, check: Callable[[], None]) -> None:
        if estimator != self._loaded:
            for n_classes in (2, 3):  # more than two are predicted by other code
                load(estimator, n_maps, n_classes)
                check()
            self._loaded = estimator

    def _share_foreseen(self) -> float:
        parts = self._view.parts if self._view else ()
        return sum(part in self._foreseen for part in parts) / max(len(parts), 1)
