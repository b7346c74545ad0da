"""How many strokes a quality takes: painted where brushwork proposes, at random places, or where the classifier is unsure.

python -m benchmarks.next_place [--cases a1,b1] [--seeds 6] [--strokes 16]
A simulated person starts with two strokes per class, drawn by a seed from the stored ones (budget `many`) of all training images.
Then, again and again: a place is proposed in the training images, a stroke of its true class is painted there, and the classifier
is trained anew. The Dice (mean over classes) is measured on a sample of pixels of the test images. The data are found as
benchmarks/accuracy.py does. Nothing is set per case. Ends with the bars and PASS or FAIL.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.accuracy import DATA, Case, kitio
from brushwork import FeatureSet, next_place
from brushwork.classifier import Classifier
from brushwork.feature_cache import FeatureCache
from brushwork.labels import Labels
from brushwork.next_place import Place, Points
from brushwork.priors import reweigh
from brushwork.training import Prepared, fit, prepare, rows_at

CASES = "a1,a2,a3,a4,b1,g1"
N_TEST = 20_000  # pixels, over all test images
SECTIONS = 4  # of a stack, on which the test pixels lie
START = 2  # strokes per class
LENGTH = 20  # pixels of a stroke, 3 wide
REACH = 12  # pixels: a person paints so close to the proposed place
OWN_CLASS_BONUS = (
    8  # pixels: the class at the place itself is painted unless another one is so much closer to the room it needs
)
TARGETS = (0.95, 0.98)  # of the Dice that all `many` strokes reach
AROUND = np.ones((3, 3), bool)


@dataclass(frozen=True, eq=False)
class Painted:
    """A stroke on a training image. coords : (n, ndim). y : the class, from 1."""

    image: str
    coords: NDArray[np.int64]
    y: int


class World:
    """A case as the simulation needs it: what can be painted, and the rows of test pixels."""

    def __init__(self, name: str) -> None:
        self.case = case = Case(name)
        self.classes = tuple(case.about["classes"])
        self.images = {n: case.images[n] for n in case.about["train"]}
        self.truth = {n: self._truth(n) for n in self.images}
        features = FeatureSet.preset("all")
        for image in sorted(self.images.values(), key=lambda i: min(i.shape)):
            features = features.resolved(image)
        self.features = features
        self.cache = FeatureCache(2 << 30)
        self.cache.use(self.images.values())
        self.samples = next_place.candidates(self.images, features)
        self.stored = [stroke for n in self.images for stroke in self._stored(n)]
        self.test_maps, self.test_y = self._test_pixels()

    def _truth(self, name: str) -> NDArray[np.uint8]:
        return kitio.labels(self.case.about, "gt", name).reshape(self.case.images[name].shape)

    def _stored(self, name: str) -> list[Painted]:
        labels = self.case.strokes("many", name)
        each = [labels.chosen(labels.strokes == s) for s in np.unique(labels.strokes)]
        return [Painted(name, s.coords, int(s.classes[0])) for s in each if len(s) >= LENGTH // 2]

    def _test_pixels(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Maps (n_maps, n) and classes (n,), from 0."""
        rng, rows, y = np.random.default_rng(0), [], []
        names = self.case.about["test"]
        for name in names:
            image, truth = self.case.images[name], self._truth(name)
            planes = [()] if truth.ndim == 2 else [(int(z),) for z in np.linspace(4, len(truth) - 5, SECTIONS)]
            for plane in planes:
                at = np.argwhere(truth[plane] > 0)
                at = at[np.sort(rng.permutation(len(at))[: N_TEST // len(names) // len(planes)])]
                at = _in_plane(at, plane)
                rows.append(rows_at(image, self.features, 0, at))
                y.append(truth[tuple(at.T)].astype(np.int64) - 1)
        return np.ascontiguousarray(np.concatenate(rows).T), np.concatenate(y)

    def start(self, seed: int) -> list[Painted]:
        """The strokes that everybody starts with."""
        rng = np.random.default_rng(100 + seed)
        each = [[s for s in self.stored if s.y == c + 1] for c in range(len(self.classes))]
        return [strokes[i] for strokes in each for i in rng.permutation(len(strokes))[:START]]

    def trained(self, strokes: Sequence[Painted]) -> tuple[Prepared, Classifier]:
        """As a session trains: rows of earlier strokes are kept."""
        examples = [(image, self._labels(name, strokes)) for name, image in self.images.items()]
        painted = [(image, labels) for image, labels in examples if len(labels)]
        prepared = prepare(painted, self.features, classes=self.classes, rows_of=self.cache.rows_of)
        return prepared, fit(prepared)

    def _labels(self, name: str, strokes: Sequence[Painted]) -> Labels:
        shape = self.truth[name].shape
        labels = _labels_of(np.zeros((0, len(shape)), np.int64), 1, shape)
        for s in strokes:
            if s.image == name:
                labels = labels.merged(_labels_of(s.coords, s.y, shape))
        return labels

    def dice(self, model: Classifier) -> float:
        """Mean over classes, on the test pixels."""
        guess = _probabilities(model, self.test_maps).argmax(0)
        both = [(guess == c, self.test_y == c) for c in range(len(self.classes))]
        return float(np.mean([2 * (a & b).sum() / max(a.sum() + b.sum(), 1) for a, b in both]))


def _in_plane(at: NDArray[np.int64], plane: tuple[int, ...]) -> NDArray[np.int64]:
    """(n, ndim) of positions (n, 2) in a section."""
    return np.column_stack([*(np.full(len(at), z, np.int64) for z in plane), at])


def _labels_of(coords: NDArray[np.int64], y: int, shape: tuple[int, ...]) -> Labels:
    """One stroke."""
    n = len(coords)
    return Labels(shape, coords, np.full(n, y, np.uint8), np.zeros(n, np.int32))


def _probabilities(model: Classifier, maps: NDArray[np.float32]) -> NDArray[np.float32]:
    probabilities = model.estimator.predict(maps)
    if model.class_weights:
        reweigh(probabilities, model.class_weights)
    return probabilities


# ---------------------------------------------------------------- the simulated person


def painted_at(world: World, place: Place, rng: np.random.Generator) -> Painted | None:
    """A stroke of one true class close to a place, one pixel off the class's border where it is wide enough for that.

    None where nobody knows what is there.
    """
    *plane, y, x = place.centre
    truth = world.truth[place.image][tuple(plane)]
    c, start = _class_to_paint(truth, y, x)
    if c == 0:
        return None
    inside = truth == c
    room = ndimage.binary_erosion(inside, AROUND)
    line = np.zeros(truth.shape, bool)
    line[tuple(np.array(_walk(room if room[start] else inside, start, rng)).T)] = True
    at = np.argwhere(ndimage.binary_dilation(line, AROUND) & inside)
    return Painted(place.image, _in_plane(at, tuple(plane)), c)


def _class_to_paint(truth: NDArray[np.uint8], y: int, x: int) -> tuple[int, tuple[int, int]]:
    """(class, where to begin): the class at the place or the one with room nearby; (0, ...) where the truth is unknown."""
    low = max(y - REACH, 0), max(x - REACH, 0)
    near = truth[low[0] : y + REACH + 1, low[1] : x + REACH + 1]
    best, chosen = np.inf, (int(truth[y, x]), (y, x))
    for c in np.unique(near[near > 0]).tolist():
        at = np.argwhere(ndimage.binary_erosion(near == c, AROUND)) + low
        if len(at):
            distance = np.hypot(*(at - (y, x)).T)
            closest = float(distance.min()) - OWN_CLASS_BONUS * (c == truth[y, x])
            if closest < best:
                best, chosen = closest, (c, tuple(at[distance.argmin()].tolist()))
    return chosen


def _walk(room: NDArray[np.bool_], start: tuple[int, int], rng: np.random.Generator) -> list[tuple[int, int]]:
    """Up to LENGTH pixels of a smooth random walk inside `room`, as the data's own strokes are made."""
    (y, x), angle, line = start, rng.uniform(0, 2 * np.pi), []
    for _ in range(LENGTH):
        line.append((round(y), round(x)))
        angle += rng.uniform(-0.5, 0.5)
        for k in range(9):  # go on, or turn away from the border
            turned = angle + (k + 1) // 2 * (np.pi / 4) * (1 if k % 2 else -1)
            v, u = y + np.sin(turned), x + np.cos(turned)
            if 0 <= round(v) < room.shape[0] and 0 <= round(u) < room.shape[1] and room[round(v), round(u)]:
                y, x, angle = v, u, turned
                break
        else:
            break
    return line


# ---------------------------------------------------------------- who proposes


@dataclass(frozen=True, eq=False)
class Situation:
    """What a proposer knows."""

    world: World
    model: Classifier
    prepared: Prepared
    visited: Sequence[Place]
    rng: np.random.Generator

    @property
    def points(self) -> Points:
        """All lattice points, not only those that brushwork draws."""
        return Points.drawn(self.model, self.world.samples, most=1 << 30)


def _best_free(situation: Situation, score: NDArray[np.floating], points: Points) -> Place:
    """The point of the highest score that is not near a visited place."""
    samples = situation.world.samples
    near = next_place.near(points, samples, situation.visited)
    i = int(np.where(near, -np.inf, score).argmax())
    return next_place.place_at(samples[points.owner[i]], points.at[i], "", float(score[i]))


def at_random(situation: Situation) -> Place:
    points = situation.points
    return _best_free(situation, situation.rng.random(len(points.at)), points)


def unsure_pixel(situation: Situation) -> Place:
    points = situation.points
    second, first = np.sort(points.probabilities, 0)[-2:]
    return _best_free(situation, second - first, points)


def unsure_window(situation: Situation) -> Place:
    points = situation.points
    return _best_free(situation, points.unsure, points)


def proposed(situation: Situation) -> Place:
    s = situation
    return next_place.places(s.model, s.world.samples, s.prepared.table, visited=s.visited, most=1)[0]


PROPOSERS: dict[str, Callable[[Situation], Place]] = {
    "random places": at_random,
    "uncertainty, one pixel": unsure_pixel,
    "uncertainty, averaged": unsure_window,
    "brushwork": proposed,
}


# ---------------------------------------------------------------- the race


def curve(world: World, propose: Callable[[Situation], Place], seed: int, n: int) -> list[float]:
    """Dice after the start strokes and after each of `n` further ones."""
    strokes, visited, rng = world.start(seed), [], np.random.default_rng(1000 + seed)
    prepared, model = world.trained(strokes)
    reached = [world.dice(model)]
    while len(reached) <= n:
        place = propose(Situation(world, model, prepared, tuple(visited), rng))
        visited.append(place)
        stroke = painted_at(world, place, rng)
        if stroke is not None:
            strokes.append(stroke)
            prepared, model = world.trained(strokes)
            reached.append(world.dice(model))
    return reached


@dataclass(frozen=True, eq=False)
class Race:
    """curves : by proposer, (n_seeds, 1 + n_strokes) Dice. target : the Dice of all stored strokes."""

    curves: dict[str, NDArray[np.float64]]
    target: float

    def area(self, who: str) -> NDArray[np.float64]:
        """(n_seeds,) mean Dice after strokes 1 .. n."""
        return self.curves[who][:, 1:].mean(1)

    def strokes_to(self, share: float, who: str) -> NDArray[np.int64]:
        """(n_seeds,) strokes until `share` of the target is reached; n + 1 where it is not."""
        reached = self.curves[who] >= share * self.target
        return np.where(reached.any(1), reached.argmax(1), reached.shape[1])


def race(name: str, seeds: int, n: int) -> Race:
    world = World(name)
    target = world.dice(fit(world.case.prepared("many")))
    curves = {who: np.array([curve(world, by, s, n) for s in range(seeds)]) for who, by in PROPOSERS.items()}
    return Race(curves, target)


def per_case(races: dict[str, Race]) -> list[str]:
    lines = ["| case | all strokes | " + " | ".join(PROPOSERS) + " |", "|---|---|" + "---|" * len(PROPOSERS)]
    for name, r in races.items():
        lines.append(
            f"| {name} | {r.target:.4f} | " + " | ".join(f"{r.area(who).mean():.4f}" for who in PROPOSERS) + " |"
        )
    return lines


def over_cases(races: dict[str, Race]) -> list[str]:
    head = (
        "| proposed by | mean Dice | brushwork ahead | "
        + " | ".join(f"strokes to {t:.0%}" for t in TARGETS)
        + " | last Dice |"
    )
    lines = [head, "|---|---|---|---|---|---|"]
    for who in PROPOSERS:
        area = np.mean([r.area(who).mean() for r in races.values()])
        ahead, error = lead(races, who)
        strokes = [np.mean([r.strokes_to(t, who).mean() for r in races.values()]) for t in TARGETS]
        last = np.mean([r.curves[who][:, -1].mean() for r in races.values()])
        told = " | ".join(f"{s:.1f}" for s in strokes)
        lines.append(f"| {who} | {area:.4f} | {ahead:+.4f} ± {error:.4f} | {told} | {last:.4f} |")
    return lines


def lead(races: dict[str, Race], who: str) -> tuple[float, float]:
    """Brushwork's mean Dice less another's, paired by case and start strokes, and its standard error."""
    ahead = np.concatenate([r.area("brushwork") - r.area(who) for r in races.values()])
    return float(ahead.mean()), float(ahead.std() / len(ahead) ** 0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default=CASES, help=f"starts of names; {CASES} by default")
    parser.add_argument("--seeds", type=int, default=6, help="sets of start strokes")
    parser.add_argument("--strokes", type=int, default=16)
    told = parser.parse_args()
    began, races = time.perf_counter(), {}
    for folder in sorted(p.name for p in DATA.iterdir() if p.name.startswith(tuple(told.cases.split(",")))):
        races[folder] = race(folder, told.seeds, told.strokes)
        print(per_case({folder: races[folder]})[-1], flush=True)
    print("\nMean Dice after strokes 1 to", told.strokes, *["", *per_case(races), "", *over_cases(races)], sep="\n")
    print(f"\n{told.seeds} sets of start strokes, {time.perf_counter() - began:.0f} s")
    for who in PROPOSERS:
        ahead, error = lead(races, who)
        if who != "brushwork":
            print(
                "PASS" if ahead > 2 * error else "FAIL", f"ahead of {who} by {ahead:+.4f}, wanted two standard errors"
            )


if __name__ == "__main__":
    main()
