"""How fast the symmetric forest trains and answers, beside scikit-learn's forest in the same run.

python benchmarks/forest.py
Times are the best of several; prediction is one thread, maps as float32, encoding included.
"""

import time

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from brushwork.estimators.symmetric_forest import FittedSymmetricForest, SymmetricForest
from brushwork.kernels import forest_predict
from brushwork.kernels.bytes64 import aligned_empty, fast_path

N_MAPS, N_CLASSES = 49, 3
TILE = 64 * 256  # pixels


def seconds(work, repeats=7):
    """The best of `repeats` runs, after one that may compile."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def strokes(n, n_maps=N_MAPS):
    """Noisy rows of three classes: (n, n_maps) float32, (n,)."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(n, n_maps)).astype(np.float32)
    sums = rows[:, :5].sum(1) + random.normal(size=n)
    return rows, np.digitize(sums, np.quantile(sums, [1 / 3, 2 / 3]))


def time_training():
    print(f"training, {N_CLASSES} classes, seconds          1 thread  2 threads  sklearn RandomForest(100), 2 jobs")
    for n, n_maps in ((5_000, N_MAPS), (100_000, N_MAPS), (5_000, 1764)):
        rows, y = strokes(n, n_maps)
        ours = [
            seconds(lambda t=t, r=rows, y=y: SymmetricForest().fit(r, y, n_classes=N_CLASSES, threads=t))
            for t in (1, 2)
        ]
        start = time.perf_counter()
        if n * n_maps < 1_000_000:
            RandomForestClassifier(100, n_jobs=2).fit(rows, y)
            theirs = f"{time.perf_counter() - start:.2f}"
        else:
            theirs = "-"
        print(f"  200 x depth 10, {n:7,} rows x {n_maps:4} maps  {ours[0]:8.3f}  {ours[1]:9.3f}  {theirs}")


def time_prediction():
    rows, y = strokes(5_000)
    maps = np.random.default_rng(1).normal(size=(N_MAPS, TILE)).astype(np.float32)
    out = np.empty((N_CLASSES, TILE), np.float32)
    reference = RandomForestClassifier(100, n_jobs=1).fit(rows, y)
    pixels = np.ascontiguousarray(maps.T)
    theirs = TILE / seconds(lambda: reference.predict_proba(pixels), 3) / 1e6
    print(f"prediction of {N_MAPS} maps, {N_CLASSES} classes, one thread   Mpixel/s   ratio to sklearn")
    print(f"  sklearn RandomForest(100)                        {theirs:8.2f}")
    for trees, depth in ((200, 10), (100, 8)):
        forest = SymmetricForest(trees, depth).fit(rows, y, n_classes=N_CLASSES)
        for name, model in (("vectors", forest._fast), ("plain", forest._plain)):
            if name == "vectors" and not fast_path():
                continue
            speed = TILE / seconds(lambda m=model: ask(m, maps, out), 30) / 1e6
            print(
                f"  {trees} x depth {depth:2}, {name:7}                          {speed:8.2f}   {speed / theirs:6.0f}"
            )
    print_encoding(forest, maps)


def ask(model, maps, out):
    """`FittedSymmetricForest.predict` on a chosen path."""
    predict, *arguments = model
    predict(maps, *arguments, *SPACE, out)


SPACE = (
    aligned_empty((forest_predict.CHUNK // forest_predict.BLOCK, N_MAPS, forest_predict.BLOCK), np.uint8),
    aligned_empty((N_CLASSES - 1, forest_predict.CHUNK), np.int32),
)


def print_encoding(forest: FittedSymmetricForest, maps):
    chunk = forest_predict.CHUNK
    taken = seconds(lambda: [forest_predict.encode(maps, *forest._encoding, 0, chunk, SPACE[0]) for _ in range(16)], 30)
    print(f"  of that, maps to bytes                            {taken / 16 / chunk * 1e9:5.1f} ns per pixel")


if __name__ == "__main__":
    time_training()
    time_prediction()
