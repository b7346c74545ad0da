"""The default estimator: an ensemble of symmetric, extremely randomised trees on features of 8 bits.

Every node of a level asks the same question, so a tree of depth D is D compares and one table look-up: 20 to 100 times
faster than walking ordinary trees, and as accurate. The loops are in `kernels/forest_train.py` and `forest_predict.py`.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from brushwork.blocks import thread_count
from brushwork.errors import InputError
from brushwork.estimators import Settings
from brushwork.kernels import forest_predict, forest_train
from brushwork.kernels.bytes64 import aligned_empty, fast_path

MOST_TREES = 10_000
MOST_DEPTH = 12
MOST = {"trees": MOST_TREES, "depth": MOST_DEPTH, "candidates": 64, "maps_per_tree": forest_train.ROW}
MOST_CLASSES = 255
LARGEST = 1.5e38  # values beyond count as this: differences still fit float32
SMALLEST = 1e-30  # differences below are not resolved: slopes still fit float32

# Codes roughly follow the values' ranks. How often two random stroke pixels get the same code, times 256, on four real images:
# 20.5, 14.5, 3.3, 9.7 with a linear grid; 7.2, 6.2, 1.5, 4.6 with x / (1 + |x|); 3.2, 2.8, 1.4, 3.9 so; Dice equals float32's
# within .001. The outer knots are the extremes: codes differ however heavy the tails, and no threshold lies beyond them.
QUANTILES = (0.0, 0.1, 0.5, 0.9, 1.0)
TOP_CODE = 255.9  # truncated to 255


@dataclass(frozen=True)
class SymmetricForest:
    """The recipe of a symmetric forest.

    Parameters
    ----------
    trees : 1 .. 10,000
    depth : questions per tree, 1 .. 12
    candidates : random (map, threshold) pairs tried per question, 1 .. 64; four in a row share a map
    maps_per_tree : random maps that a tree may ask of, 1 .. 64, at most those there are
    shrinkage : how many samples' weight the parent's estimate has in a leaf's
    balanced : every class counts the same in total, however many pixels were painted of it: the samples of smaller classes
        get larger weights
    bootstrap : every tree draws, per class and with replacement, as many strokes as the class has; else it sees all rows once.
        Where a class has fewer than 4 strokes, the draw decides on questions only, and leaves count all its rows once
    """

    trees: int = 200
    depth: int = 10
    candidates: int = 32
    maps_per_tree: int = 64
    shrinkage: float = 0.3
    balanced: bool = False
    bootstrap: bool = True

    kind: ClassVar[str] = "symmetric-forest"

    def __post_init__(self) -> None:
        for name, most in MOST.items():
            value = getattr(self, name)
            if not 1 <= value <= most:
                raise InputError(f"{name} is {value}; give 1 to {most}")
        if not 0 <= self.shrinkage < 1e6:
            raise InputError(f"shrinkage is {self.shrinkage}; give a number of samples from 0 (no shrinkage) up")

    def fit(
        self,
        rows: np.ndarray,
        y: np.ndarray,
        *,
        n_classes: int,
        strokes: np.ndarray | None = None,
        seed: int = 0,
        threads: int | None = None,
    ) -> "FittedSymmetricForest":
        """Grow the forest.

        Parameters
        ----------
        rows : (n, n_maps) float32, finite
        y : (n,) integer, 0 .. n_classes - 1; classes may be without rows, and then have probability 0
        n_classes : 2 .. 255
        strokes : (n,) integers, rows with the same number and class belong together and are drawn together; without them
            every row is drawn by itself
        seed : same rows, same seed, same forest, for any number of threads
        threads : default: one per processor

        Raises
        ------
        ValueError
            Where rows, y or strokes are not as described.
        """
        rows, classes = _checked_rows(rows, y, n_classes)
        knots = fit_knots(rows)
        columns = encode_columns(rows, knots)
        n_maps, n = columns.shape
        stroke_of, class_starts = _numbered_strokes(classes, strokes)
        maps = np.empty((self.trees, self.depth), np.int32)
        thresholds = np.empty((self.trees, self.depth), np.uint8)
        leaves = np.empty((self.trees, n_classes - 1, 1 << self.depth), np.uint8)
        gains = np.empty((self.trees, self.depth), np.float32)
        lanes = 32 if self.candidates <= 32 else 64
        grow = forest_train.tree_grower(lanes, fast_path())

        def grow_some(part: range) -> None:
            histogram = aligned_empty((n_classes << (self.depth - 1), lanes), np.int32)
            packed = aligned_empty((n, forest_train.ROW), np.uint8)
            some = slice(part.start, part.stop)
            grow(
                columns, classes, n_classes, stroke_of, class_starts, self.bootstrap, self.balanced,
                min(self.maps_per_tree, n_maps), self.candidates, np.float32(self.shrinkage),
                np.uint64(seed % 2**64), part.start, packed, histogram,
                maps[some], thresholds[some], leaves[some], gains[some],
            )  # fmt: skip

        _in_threads(grow_some, self.trees, thread_count(threads))
        return FittedSymmetricForest(maps, thresholds, leaves, knots, _importances(maps, gains, n_maps))


@dataclass(frozen=True, eq=False)
class FittedSymmetricForest:
    """A grown symmetric forest: a value, safe to share between threads.

    Attributes
    ----------
    maps : (n_trees, depth) int32, the map each question asks of; question 0 is the root's
    thresholds : (n_trees, depth) uint8, the answer is yes where the map's code is above
    leaves : (n_trees, n_classes - 1, 2^depth) uint8, 255 * probability; the last class has what the others leave; bit d of
        a leaf's number is the answer to question d
    knots : (n_maps, 5) float32, not falling: values that get codes 0, 25, 128, 230 and 255 (see `fit_knots`)
    importance : (n_maps,) float32, sum 1
    """

    maps: np.ndarray
    thresholds: np.ndarray
    leaves: np.ndarray
    knots: np.ndarray
    importance: np.ndarray

    kind: ClassVar[str] = "symmetric-forest"

    def __post_init__(self) -> None:
        for array in self.arrays().values():
            array.flags.writeable = False

    @property
    def n_classes(self) -> int:
        return self.leaves.shape[1] + 1

    @property
    def n_maps(self) -> int:
        return len(self.knots)

    def predict(self, maps: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Class probabilities of pixels, on this thread.

        Parameters
        ----------
        maps : (n_maps, n) float32, C-contiguous
        out : (n_classes, n) float32, C-contiguous, optional

        Returns
        -------
        out : (n_classes, n) float32, sums 1 over classes

        Raises
        ------
        ValueError
            Where an array has another shape, type or order.
        """
        _check_array("maps", maps, (self.n_maps, maps.shape[-1]))
        if out is None:
            out = np.empty((self.n_classes, maps.shape[1]), np.float32)
        _check_array("out", out, (self.n_classes, maps.shape[1]))
        predict, *model = self._fast if fast_path() else self._plain
        codes, totals = _scratch(len(self._used), self.n_classes)
        predict(maps, *model, codes, totals, out)
        return out

    def importances(self) -> np.ndarray:
        """(n_maps,) float32, sum 1: each map's share of the Gini impurity that questions removed, over all trees."""
        return self.importance

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything that `restore` needs, for a file of named arrays."""
        return {
            "maps": self.maps,
            "thresholds": self.thresholds,
            "leaves": self.leaves,
            "knots": self.knots,
            "importance": self.importance,
        }

    def settings(self) -> Settings:
        return {"n_classes": self.n_classes, "n_maps": self.n_maps}

    @classmethod
    def restore(cls, arrays: dict[str, np.ndarray], settings: Settings) -> "FittedSymmetricForest":
        """The forest whose `arrays()` and `settings()` these are.

        Raises
        ------
        ValueError
            Where an array is missing, or of another shape, type or range than a forest's.
        """
        _check_model(arrays, settings)
        return cls(**{name: np.array(arrays[name], order="C") for name in ARRAY_TYPES})

    # ---- the same forest as the kernels want it ----

    @cached_property
    def _used(self) -> np.ndarray:
        """The maps that any tree asks of: others need no codes."""
        return np.unique(self.maps).astype(np.int64)

    @cached_property
    def _encoding(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self._used, self.knots.copy(), slopes(self.knots)

    @cached_property
    def _fast(self) -> tuple[Any, ...]:
        """(kernel, arguments): tables of one or two classes side by side, on cache lines."""
        n_trees, n_known, n_leaves = self.leaves.shape
        depth = self.maps.shape[1]
        n_tables = min(n_known, 2)
        shape = (-(-n_known // n_tables), n_trees, n_tables, forest_predict.table_size(depth))
        tables = aligned_empty(shape, np.uint8)
        tables[:] = 0
        for c in range(n_known):
            tables[c // n_tables, :, c % n_tables, :n_leaves] = self.leaves[:, c]
        offsets = np.searchsorted(self._used, self.maps).astype(np.int64) * forest_predict.BLOCK
        words = self.thresholds * np.uint32(0x01010101)
        return forest_predict.fast_predictor(depth, n_tables), *self._encoding, offsets, words, tables

    @cached_property
    def _plain(self) -> tuple[Any, ...]:
        """(kernel, arguments): four classes of a leaf as the 16-bit fields of one word."""
        n_trees, n_known, n_leaves = self.leaves.shape
        padding = (0, -n_trees % forest_predict.TOGETHER), (0, 0)
        words = np.zeros((-(-n_known // forest_predict.FIELDS), n_trees + padding[0][1], n_leaves), np.uint64)
        for c in range(n_known):
            word, field = divmod(c, forest_predict.FIELDS)
            words[word, :n_trees] |= self.leaves[:, c].astype(np.uint64) << np.uint64(16 * field)
        questions = np.pad(np.searchsorted(self._used, self.maps).astype(np.int64), padding)
        thresholds = np.pad(self.thresholds, padding)
        whole = forest_predict.LEAF_SUM * n_trees
        return forest_predict.predict_plainly, *self._encoding, questions, thresholds, words, whole


# ---- features as bytes ---------------------------------------------------------------------------------------------


def fit_knots(rows: np.ndarray) -> np.ndarray:
    """(n_maps, 5) float32: minimum, three quantiles and maximum of each map's training values.

    At most 4,096 rows decide on the quantiles (more change nothing, and sorting costs); all decide on the extremes.
    """
    some = np.sort(rows[:: -(-len(rows) // 4096)].T, axis=1)
    ranks = np.round(np.array(QUANTILES) * (some.shape[1] - 1)).astype(int)
    knots = some[:, ranks]
    knots[:, 0], knots[:, -1] = rows.min(0), rows.max(0)
    return np.ascontiguousarray(np.clip(knots, -LARGEST, LARGEST), np.float32)


def slopes(knots: np.ndarray) -> np.ndarray:
    """(n_maps, 4) float32: codes per unit between knots. Parts have the share of their ranks; empty parts leave theirs.

    Most of a map's values may be one number (a mask, sparse counts): knots coincide there, the other parts get all codes.
    """
    spans = np.diff(knots.astype(np.float64), axis=1)
    shares = np.where(spans > 0, np.diff(QUANTILES), 0)
    codes = TOP_CODE * shares / np.maximum(shares.sum(1, keepdims=True), SMALLEST)
    return (codes / np.maximum(spans, SMALLEST)).astype(np.float32)


def encode_columns(rows: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """(n_maps, n) uint8 codes of rows (n, n_maps), by the kernel that encodes pixels: prediction sees the same codes."""
    n, n_maps = rows.shape
    codes = np.empty((n_maps, n), np.uint8)
    for first in range(0, n_maps, 64):  # a part at a time, or there would be two copies of the rows
        part = slice(first, first + 64)
        columns = np.ascontiguousarray(rows[:, part].T)
        blocks = np.empty((-(-n // forest_predict.BLOCK), len(columns), forest_predict.BLOCK), np.uint8)
        forest_predict.encode(columns, np.arange(len(columns)), knots[part], slopes(knots[part]), 0, n, blocks)
        codes[part] = blocks.swapaxes(0, 1).reshape(len(columns), -1)[:, :n]
    return codes


# ---- small print ---------------------------------------------------------------------------------------------------


def _checked_rows(rows: np.ndarray, y: np.ndarray, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    if not 2 <= n_classes <= MOST_CLASSES:
        raise InputError(f"n_classes is {n_classes}; give 2 to {MOST_CLASSES}")
    if rows.ndim != 2 or 0 in rows.shape or y.shape != rows.shape[:1]:
        raise InputError(
            f"rows have shape {rows.shape} and y {y.shape}; give (n, n_maps) and (n,), n and n_maps at least 1"
        )
    if y.min() < 0 or y.max() >= n_classes:
        raise InputError(f"y has classes {y.min()} to {y.max()}; give 0 to {n_classes - 1}")
    rows = np.ascontiguousarray(rows, np.float32)
    if not np.isfinite(rows).all():
        bad = np.flatnonzero(~np.isfinite(rows).all(0))
        raise InputError(
            f"features {bad[:5].tolist()} have NaN or infinite values at painted pixels; unpaint those pixels"
        )
    return rows, y.astype(np.uint8)


def _numbered_strokes(classes: np.ndarray, strokes: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """(stroke of each row, numbered class by class; first stroke of each painted class, then how many there are)."""
    if strokes is None:
        strokes = np.arange(len(classes))
    if strokes.shape != classes.shape or strokes.dtype.kind not in "iu":
        raise InputError(
            f"strokes are {strokes.dtype} of shape {strokes.shape}; give one integer per row, {classes.shape}"
        )
    _, strokes = np.unique(strokes, return_inverse=True)
    pairs, stroke_of = np.unique(classes.astype(np.int64) * len(classes) + strokes, return_inverse=True)
    counts = np.bincount(pairs // len(classes))
    return stroke_of.astype(np.int32), np.cumsum([0, *counts[counts > 0]])


def _importances(maps: np.ndarray, gains: np.ndarray, n_maps: int) -> np.ndarray:
    shares = np.bincount(maps.ravel(), weights=gains.ravel().astype(np.float64), minlength=n_maps)
    if shares.sum() == 0:  # no question separated anything
        shares[:] = 1
    return (shares / shares.sum()).astype(np.float32)


def _in_threads(grow_some: Any, trees: int, threads: int) -> None:
    """Parts of a few trees, so that no thread waits long for the last."""
    step = -(-trees // (4 * threads))
    parts = [range(first, min(first + step, trees)) for first in range(0, trees, step)]
    if threads == 1:
        parts = [range(trees)]
    with ThreadPoolExecutor(min(threads, len(parts))) as pool:
        list(pool.map(grow_some, parts))


_of_this_thread = threading.local()


def _scratch(n_used: int, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """(codes, totals) of this thread, as in `forest_predict`: fresh pages would cost as much as the work."""
    if getattr(_of_this_thread, "made_for", None) != (n_used, n_classes):
        n_rows = n_classes - 1 if n_classes == 2 else 2 * (n_classes // 2)
        blocks = forest_predict.CHUNK // forest_predict.BLOCK
        _of_this_thread.arrays = (
            aligned_empty((blocks, n_used, forest_predict.BLOCK), np.uint8),
            aligned_empty((n_rows, forest_predict.CHUNK), np.int32),
        )
        _of_this_thread.made_for = (n_used, n_classes)
    return _of_this_thread.arrays


def _check_array(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if array.shape != shape or array.dtype != np.float32 or not array.flags.c_contiguous:
        raise InputError(
            f"{name} is {array.dtype} of shape {array.shape} with strides {array.strides}; "
            f"give float32 of shape {shape}, C-contiguous"
        )


ARRAY_TYPES = {
    "maps": (np.int32, 2),
    "thresholds": (np.uint8, 2),
    "leaves": (np.uint8, 3),
    "knots": (np.float32, 2),
    "importance": (np.float32, 1),
}


def _check_model(arrays: dict[str, np.ndarray], settings: Settings) -> None:
    """Raise InputError unless the kernels can trust these arrays: they check no bounds."""
    for name, (dtype, ndim) in ARRAY_TYPES.items():
        if name not in arrays:
            raise InputError(f"damaged symmetric forest: array {name!r} is missing; there are {sorted(arrays)}")
        if arrays[name].dtype != dtype or arrays[name].ndim != ndim or arrays[name].size == 0:
            given = f"{arrays[name].dtype} of shape {arrays[name].shape}"
            raise InputError(f"damaged symmetric forest: {name} is {given}, not {np.dtype(dtype)} with {ndim} axes")
    maps, knots, leaves, importance = (arrays[name] for name in ("maps", "knots", "leaves", "importance"))
    (n_trees, depth), n_maps, n_classes = maps.shape, len(knots), leaves.shape[1] + 1
    laws = {
        f"depth {depth} is within 1 to {MOST_DEPTH}, trees {n_trees} within 1 to {MOST_TREES}": depth <= MOST_DEPTH
        and n_trees <= MOST_TREES,
        "thresholds are as many as maps": arrays["thresholds"].shape == maps.shape,
        "there are 2^depth leaves per tree": leaves.shape == (n_trees, n_classes - 1, 1 << min(depth, MOST_DEPTH)),
        f"classes are 2 to {MOST_CLASSES}": n_classes <= MOST_CLASSES,
        "n_classes and n_maps agree with the arrays": (settings.get("n_classes"), settings.get("n_maps"))
        == (n_classes, n_maps),
        f"maps are within 0 to {n_maps - 1}": maps.min() >= 0 and maps.max() < n_maps,
        "a leaf's bytes add up to at most 255": leaves.sum(1, dtype=np.int64).max() <= forest_predict.LEAF_SUM,
        "knots are five per map, finite and do not fall": knots.shape[1] == len(QUANTILES)
        and bool((np.diff(knots, axis=1) >= 0).all() and (np.abs(knots) <= np.float32(LARGEST)).all()),
        "importances are one per map, finite and not negative": importance.shape == (n_maps,)
        and bool((np.isfinite(importance) & (importance >= 0)).all()),
    }
    for law, holds in laws.items():
        if not holds:
            raise InputError(f"damaged symmetric forest: it should be that {law}")
