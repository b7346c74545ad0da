"""Estimators: they fit rows of maps to classes and answer with probabilities. One file per kind; nothing here knows of images.

An estimator comes in two values: the recipe (settings; `fit`) and what was fitted (arrays; `predict`). Register your own with
`ESTIMATORS[name] = function that returns a Kind`, or such a function as entry point of the group "brushwork.estimators".
"""

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any, ClassVar, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from brushwork.errors import InputError, unknown

Settings = dict[str, int | float | str | bool]


class Fitted(Protocol):
    """A fitted estimator; its arrays never change.

    One with the attribute `takes_width` set is told in `predict(maps, out, width=...)` how many pixels a row of the tile has that
    the maps are of.
    """

    kind: ClassVar[str]

    @property
    def n_classes(self) -> int: ...

    @property
    def n_maps(self) -> int: ...

    def predict(self, maps: NDArray[np.float32], out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Probabilities (n_classes, n) float32 of maps (n_maps, n) float32, written to `out` where it is given. Re-entrant."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that has to be saved."""

    def settings(self) -> Settings: ...

    @classmethod
    def restore(cls, arrays: dict[str, NDArray[Any]], settings: Settings) -> Self:
        """The inverse of arrays() and settings(); raises ValueError where they do not fit each other."""

    def importances(self) -> NDArray[np.float32]:
        """(n_maps,), sum 1: the share of each map in what was learnt."""


class Estimator(Protocol):
    """A recipe: how to fit."""

    def fit(
        self,
        rows: NDArray[np.float32],
        y: NDArray[np.integer],
        *,
        n_classes: int,
        strokes: NDArray[np.integer] | None = None,
        seed: int = 0,
        threads: int | None = None,
    ) -> Fitted:
        """rows : (n, n_maps) float32. y : (n,) integers from 0 to n_classes - 1. The same input and seed give the same result.

        strokes : (n,) integers, which rows were painted in one stroke and are hence nearly copies of each other.
        """


class Kind(NamedTuple):
    """What a name in ESTIMATORS stands for: the recipe (None where it only arrives by import) and what `fit` returns."""

    recipe: Callable[..., Estimator] | None
    fitted: type[Fitted]


def _symmetric_forest() -> Kind:
    from brushwork.estimators import symmetric_forest

    return Kind(symmetric_forest.SymmetricForest, symmetric_forest.FittedSymmetricForest)


def _tree_forest() -> Kind:
    from brushwork.estimators import tree_forest

    return Kind(None, tree_forest.TreeForest)


def _vigra_forest() -> Kind:
    from brushwork.estimators import tree_forest

    return Kind(None, tree_forest.VigraForest)


# Functions, so that importing brushwork loads and compiles nothing.
ESTIMATORS: dict[str, Callable[[], Kind]] = {
    "symmetric-forest": _symmetric_forest,
    "tree-forest": _tree_forest,
    "vigra-forest": _vigra_forest,
}


def kind_named(name: str, what: str = "estimator") -> Kind:
    """The entry of ESTIMATORS, also of other packages; raises InputError for an unknown name."""
    if name not in ESTIMATORS:
        for entry in entry_points(group="brushwork.estimators"):
            ESTIMATORS.setdefault(entry.name, entry.load())
    if name not in ESTIMATORS:
        raise unknown(what, name, [*ESTIMATORS, "sklearn:CLASS"])
    return ESTIMATORS[name]()


def estimator(name: "str | Estimator", **settings: Any) -> Estimator:
    """The recipe of that name: one of ESTIMATORS or "sklearn:ClassName"; a recipe is handed through.

    Raises InputError for an unknown name or setting.
    """
    if not isinstance(name, str):
        return name
    kind, _, which = name.partition(":")
    if kind == "sklearn":
        from brushwork.estimators.sklearn import SklearnEstimator

        return SklearnEstimator(which, tuple(sorted(settings.items())))
    recipe = kind_named(name).recipe
    if recipe is None:
        raise InputError(
            f"{name} is never trained here; it arrives from other programs. Take the default, symmetric-forest"
        )
    try:
        return recipe(**settings)
    except TypeError as error:
        raise InputError(f"{name} does not take these settings: {error}") from None


def restore(kind: str, arrays: dict[str, NDArray[Any]], settings: Settings) -> Fitted:
    """A fitted estimator from what a model file holds."""
    return kind_named(kind, "kind of estimator in the model file").fitted.restore(arrays, settings)
