"""scikit-learn's classifiers behind our interface: for comparison, and for those who ask."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from brushwork.errors import InputError, MissingPart, unknown
from brushwork.estimators import Fitted, Settings
from brushwork.estimators.tree_forest import TreeForest
from brushwork.kernels.tree_forest import LEAF


@dataclass(frozen=True)
class SklearnEstimator:
    """A recipe: name of a classifier of scikit-learn, and its settings.

    Decision trees and their forests become a TreeForest, which can be saved. Others work in memory only.
    """

    name: str
    options: tuple[tuple[str, Any], ...] = ()

    def _make(self, seed: int, threads: int | None) -> Any:
        try:
            from sklearn.utils import all_estimators
        except ImportError:
            raise MissingPart("an estimator from scikit-learn", "sklearn") from None
        known = dict(all_estimators(type_filter="classifier"))
        if self.name not in known:
            raise unknown("classifier of scikit-learn", self.name, known)
        options = dict(self.options)
        try:
            accepted = known[self.name]().get_params()
        except TypeError as error:
            raise InputError(
                f"{self.name} cannot be made from settings alone ({error}); take another classifier"
            ) from None
        defaults = {"random_state": seed, "n_jobs": threads, "probability": True}
        options = {**{k: v for k, v in defaults.items() if k in accepted}, **options}
        try:
            return known[self.name](**options)
        except TypeError as error:
            raise InputError(f"{self.name} does not take these settings: {error}") from None

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
        """See estimators.Estimator; strokes make no difference."""
        model = self._make(seed, threads)
        if not hasattr(model, "predict_proba"):
            raise InputError(
                f"{self.name} gives no probabilities; take another classifier, e.g. RandomForestClassifier"
            )
        model.fit(rows, y)
        if not _is_made_of_trees(model):
            return FittedSklearn(self.name, model, n_classes, rows.shape[1])
        return _as_tree_forest(getattr(model, "estimators_", [model]), model, n_classes)


def check_can_be_saved(name: str) -> None:
    """Raise InputError where scikit-learn has no such classifier, or what it learns could not be saved."""
    if not _is_made_of_trees(SklearnEstimator(name)._make(seed=0, threads=None)):
        raise _unsavable(name)


def _unsavable(name: str) -> InputError:
    return InputError(
        f"a model with {name} works in memory but cannot be saved: scikit-learn would need a pickle, which runs code "
        "when it is opened; take a tree ensemble (sklearn:RandomForestClassifier) or the default estimator"
    )


def _is_made_of_trees(model: Any) -> bool:
    """Whether a classifier, fitted or not, averages the leaves of decision trees."""
    from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
    from sklearn.tree import DecisionTreeClassifier

    return isinstance(model, DecisionTreeClassifier | RandomForestClassifier | ExtraTreesClassifier)


def _as_tree_forest(trees: list[Any], model: Any, n_classes: int) -> TreeForest:
    sizes = [t.tree_.node_count for t in trees]
    roots = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int32)
    leaves = np.zeros((sum(sizes), n_classes), np.float32)
    counts = np.concatenate([t.tree_.value[:, 0] for t in trees])
    leaves[:, np.asarray(model.classes_, int)] = counts / counts.sum(1, keepdims=True)
    left = np.concatenate([t.tree_.children_left for t in trees])
    right = np.concatenate([t.tree_.children_right for t in trees])
    inner = left >= 0
    children = np.stack([left, right], 1) + np.repeat(roots, sizes)[:, None]
    feature = np.concatenate([t.tree_.feature for t in trees])
    return TreeForest(
        feature=np.where(inner, feature, LEAF).astype(np.int32),
        threshold=np.concatenate([t.tree_.threshold for t in trees]),
        children=np.where(inner[:, None], children, 0).astype(np.int32),
        leaves=leaves,
        roots=roots,
        weights=np.asarray(model.feature_importances_, np.float32),
    )


@dataclass(frozen=True, eq=False)
class FittedSklearn:
    """A fitted model of scikit-learn that lives in memory."""

    kind: ClassVar[str] = "sklearn"
    name: str
    model: Any
    n_classes: int
    n_maps: int

    def predict(self, maps: NDArray[np.float32], out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """See estimators.Fitted."""
        if out is None:
            out = np.empty((self.n_classes, maps.shape[1]), np.float32)
        out[:] = 0
        out[np.asarray(self.model.classes_, int)] = self.model.predict_proba(np.ascontiguousarray(maps.T)).T
        return out

    def arrays(self) -> dict[str, NDArray[Any]]:
        raise _unsavable(self.name)

    def settings(self) -> Settings:
        return {}

    @classmethod
    def restore(cls, arrays: dict[str, NDArray[Any]], settings: Settings) -> Self:
        raise ValueError("models of scikit-learn other than tree ensembles are never saved")

    def importances(self) -> NDArray[np.float32]:
        return np.full(self.n_maps, 1 / self.n_maps, np.float32)
