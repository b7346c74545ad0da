"""How accurate the default is on real images, beside the stored baseline and scikit-learn's ExtraTrees on the same features.

python benchmarks/accuracy.py [--seed N] [--skip-peers] [--cases a1,b2]
Trains on the strokes of the training images, predicts the test images, and scores with the data's own score.py. The data are
found at BRUSHWORK_TEST_DATA, else at ../shared/data. Ends with the bars and PASS or FAIL.
"""

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from brushwork import FeatureSet, Image, Labels
from brushwork.blocks import whole
from brushwork.classifier import Classifier
from brushwork.image import ArrayImage
from brushwork.labels import from_array
from brushwork.training import Prepared, fit, prepare

BUDGETS = ("few", "many")
PEER = "sklearn:ExtraTreesClassifier"  # its default is 100 trees
AHEAD = 0.01  # mean Dice over the cases, above the baseline's
BEHIND = 0.03  # the most that one case may lose


def data_folder() -> Path:
    told = os.environ.get("BRUSHWORK_TEST_DATA")
    return Path(told) if told else Path(__file__).resolve().parents[2] / "shared" / "data"


DATA = data_folder()
sys.path.insert(0, str(DATA / "scripts"))
import kitio  # noqa: E402  the data's own reader and scores
import score  # noqa: E402


class Case:
    """One folder of the data: images to train on, images to test."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.about = kitio.load_case(str(DATA / name))

    @cached_property
    def images(self) -> dict[str, Image]:
        return {name: self.image(name) for name in (*self.about["train"], *self.about["test"])}

    def image(self, name: str) -> Image:
        """As a user has it: no z for a single section, the pixel size where it is known."""
        stack = kitio.image(self.about, name)  # z, y, x, c
        flat = "Z" not in self.about["axes"]
        size = self.about.get("voxel_um")
        return ArrayImage(
            stack[0] if flat else stack,
            "yxc" if flat else "zyxc",
            uri=f"{self.name}/{name}",
            channel_names=tuple(self.about.get("channels", ())),
            pixel_size=tuple(size[-2 if flat else -3 :]) if size else None,
        )

    def strokes(self, budget: str, name: str) -> Labels:
        return from_array(kitio.labels(self.about, f"scrib/{budget}", name).reshape(self.images[name].shape))

    def prepared(self, budget: str) -> Prepared:
        examples = [(self.images[name], self.strokes(budget, name)) for name in self.about["train"]]
        return prepare(examples, FeatureSet.preset("all"), classes=self.about["classes"])

    def scores(self, model: Classifier) -> dict[str, Any]:
        answers = {}
        for name in self.about["test"]:
            image = self.images[name]
            pixels = np.moveaxis(image.read(whole(image.shape)), 0, -1)
            answers[name] = model.predict_array(pixels, axes=image.axes, pixel_size=image.pixel_size)
        return score.score(self.about, answers)


@dataclass(frozen=True)
class Result:
    """Mean Dice and mean average precision over the classes of a case, ours and the peer's (NaN where it was skipped)."""

    dice: float
    precision: float
    baseline: float
    peer_dice: float
    peer_precision: float

    @property
    def ahead(self) -> float:
        return self.dice - self.baseline


def mean_precision(scores: dict[str, Any]) -> float:
    return float(np.mean([one["ap"] for one in scores["classes"].values()]))


def measure(case: Case, budget: str, baseline: float, seed: int, with_peer: bool) -> Result:
    prepared = case.prepared(budget)
    ours = case.scores(fit(prepared, seed=seed))
    dice = precision = float("nan")
    if with_peer:
        peer = case.scores(replace(fit(prepared, PEER, seed=0), class_weights=()))  # as scikit-learn gives it
        dice, precision = peer["mean_dice"], mean_precision(peer)
    return Result(ours["mean_dice"], mean_precision(ours), baseline, dice, precision)


HEAD = """| case | budget | Dice | baseline | difference | ExtraTrees | average precision | ExtraTrees |
|---|---|---|---|---|---|---|---|"""


def row(case: str, budget: str, r: Result) -> str:
    return (
        f"| {case} | {budget} | {r.dice:.4f} | {r.baseline:.4f} | {r.ahead:+.4f} | {r.peer_dice:.4f} "
        f"| {r.precision:.4f} | {r.peer_precision:.4f} |"
    )


def mean(results: list[Result]) -> Result:
    columns = [[getattr(r, name) for r in results] for name in Result.__dataclass_fields__]
    return Result(*(float(np.mean(column)) for column in columns))


def bars(results: dict[tuple[str, str], Result], with_peer: bool) -> list[tuple[str, bool]]:
    """(what was asked and what was reached, whether it holds)."""
    told = []
    for budget in BUDGETS:
        total = mean([r for (_, b), r in results.items() if b == budget])
        told.append(
            (f"{budget}: mean Dice {total.ahead:+.4f} above the baseline, wanted {AHEAD:+}", total.ahead >= AHEAD)
        )
        if with_peer:
            gain = total.precision - total.peer_precision
            told.append((f"{budget}: mean average precision {gain:+.4f} above ExtraTrees, wanted +0", gain >= 0))
    worst = min(results, key=lambda key: results[key].ahead)
    ahead = results[worst].ahead
    told.append((f"worst case {' '.join(worst)} {ahead:+.4f}, wanted {-BEHIND} or better", ahead >= -BEHIND))
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of our forest; the peer's is 0")
    parser.add_argument("--skip-peers", action="store_true", help="leave ExtraTrees out, which takes most of the time")
    parser.add_argument("--cases", default="", help="starts of names, e.g. a1,b2; all by default")
    told = parser.parse_args()
    baseline = json.loads((DATA / "baseline.json").read_text())
    names = [name for name in baseline if name.startswith(tuple(told.cases.split(",")))]
    start, results = time.perf_counter(), {}
    print(HEAD)
    for name in names:
        case = Case(name)
        for budget in BUDGETS:
            result = measure(case, budget, baseline[name][budget]["mean_dice"], told.seed, not told.skip_peers)
            results[name, budget] = result
            print(row(name, budget, result), flush=True)
    for budget in BUDGETS:
        print(row("**mean**", budget, mean([r for (_, b), r in results.items() if b == budget])))
    print(f"\nseed {told.seed}, {len(names)} cases, {time.perf_counter() - start:.0f} s")
    for what, holds in bars(results, not told.skip_peers):
        print("PASS" if holds else "FAIL", what)


if __name__ == "__main__":
    main()
