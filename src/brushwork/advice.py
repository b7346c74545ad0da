"""What can be said of a task's strokes, aside: how good the model is, where to paint next, which features suffice."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from brushwork.answers import numbers_of, renumbered
from brushwork.aside import Aside, Stop
from brushwork.blocks import Region
from brushwork.classifier import Classifier
from brushwork.document import Task
from brushwork.errors import InputError
from brushwork.explain import Explanation, explain
from brushwork.features import selection
from brushwork.image import Image, n_channels
from brushwork.labels import Labels
from brushwork.next_place import Place, candidates, places
from brushwork.quality import Quality, agreement, checked
from brushwork.suggest import best_small, suggest_features
from brushwork.training import Prepared, fit, prepare

Painted = Mapping[str, tuple[Image, Labels]]  # by the image's id, classes as ids


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A task and what is painted for it now: to learn from, and to check with."""

    task: Task
    learnt: Painted = field(repr=False)
    checks: Painted = field(repr=False)

    @cached_property
    def _numbered(self) -> tuple[tuple[int, ...], tuple[str, ...], list[tuple[Image, Labels]]]:
        return renumbered(list(self.learnt.values()), [(c.id, c.name) for c in self.task.classes])

    def labels(self) -> dict[str, Labels]:
        """By image, classes numbered as the model's."""
        return dict(zip(self.learnt, (labels for _, labels in self._numbered[2])))

    def known_checks(self) -> dict[str, tuple[Image, Labels]]:
        """Strokes for checking of classes that are learnt, numbered as the model's."""
        numbers = numbers_of(self._numbered[0])
        known = {i: (image, labels.chosen(numbers[labels.classes] > 0)) for i, (image, labels) in self.checks.items()}
        return {i: (image, replace(t, classes=numbers[t.classes])) for i, (image, t) in known.items() if len(t)}

    def prepared(self) -> Prepared | None:
        """What a model is fitted to; None with fewer than two classes."""
        _, names, examples = self._numbered
        if len(names) < 2:
            return None
        task = self.task
        return prepare(examples, task.features, classes=names, channels=task.channels, priors=task.priors)

    def examples(self) -> list[tuple[Image, Labels]]:
        """The images with what is learnt from them, classes numbered as the model's; in the order of `learnt`."""
        return self._numbered[2]

    def fit(self, prepared: Prepared) -> Classifier:
        return fit(prepared, self.task.estimator, seed=self.task.seed)


@dataclass(frozen=True)
class Measured:
    """How good the model is on strokes that were left out, and on strokes for checking; None where there are none."""

    unseen: Quality | None = None
    checks: Quality | None = None


class Advisor:
    """Answers one question of each kind at a time; owns the threads, and remembers the places it proposed.

    `done` of every method is called in a thread, unless something newer was asked meanwhile.
    """

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        self._measuring, self._finding, self._explaining = Aside(failed), Aside(failed), Aside(failed)
        self._visited: list[Place] = []

    def measure(self, now: Snapshot, done: Callable[[Measured], None]) -> None:
        """Agreement with strokes that were left out, and with those for checking."""

        def work(stop: Stop) -> Measured:
            prepared = now.prepared()
            if prepared is None or stop():
                return Measured()
            model, checks, task = now.fit(prepared), now.known_checks(), now.task
            weights = model.class_weights
            unseen = agreement(prepared, now.labels(), task.estimator, class_weights=weights, seed=task.seed, stop=stop)
            return Measured(unseen, checked(model, checks, stop=stop) if checks and not stop() else None)

        self._measuring.run(work, done)

    def find_place(
        self, now: Snapshot, images: Mapping[str, Image], within: Region | None, done: Callable[[Place | None], None]
    ) -> None:
        """Where to paint next in these images (next_place.candidates), and not where it was proposed before."""

        def work(stop: Stop) -> Place | None:
            prepared = now.prepared()
            if prepared is None:
                raise InputError("paint two classes first; then it can be said where it is unsure")
            model = now.fit(prepared)
            samples = candidates(images, prepared.features, within=within, stop=stop)
            found = places(model, samples, prepared.table, visited=self._visited, most=1)
            if not found:  # every place was proposed before: begin again
                found = places(model, samples, prepared.table, most=1)
                self._visited = []
            self._visited += found
            return found[0] if found else None

        self._finding.run(work, done)

    def explain(self, now: Snapshot, image: Image, at: Sequence[int], done: Callable[[Explanation], None]) -> None:
        """Why a pixel is predicted as it is; the examples of the answer are numbered as `now.learnt`."""

        def work(stop: Stop) -> Explanation:
            prepared = now.prepared()
            if prepared is None:
                raise InputError("paint two classes first; then a prediction can be explained")
            model = now.fit(prepared)
            if stop():
                raise InputError("another pixel was asked for")
            return explain(model, image, at, now.examples(), prepared.table)

        self._explaining.run(work, done)

    def suggest(self, now: Snapshot, done: Callable[[str, str], None]) -> None:
        """A smaller set of features that is as good on strokes left out: (task, selection)."""

        def work(stop: Stop) -> str:
            prepared = now.prepared()
            if prepared is None:
                raise InputError("paint two classes first; features are compared on strokes that are left out")
            best = best_small(suggest_features(prepared, now.task.estimator, seed=now.task.seed))
            return selection(best.features, n_channels(prepared.image))

        self._finding.run(work, lambda found: done(now.task.name, found))

    def stop_measuring(self) -> None:
        self._measuring.stop()

    def stop(self) -> None:
        """What is under way is of no use any more."""
        for aside in (self._measuring, self._finding, self._explaining):
            aside.stop()

    def close(self) -> None:
        for aside in (self._measuring, self._finding, self._explaining):
            aside.close()
