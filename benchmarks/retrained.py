"""How close a forest trained on the labels of ilastik's projects comes to what ilastik itself stored.

python -m benchmarks.retrained [--seeds 5]
Of every project with labels and a stored result: features and labels are the project's, forests are trained here. Agreement is
the share of pixels with the same most probable class. "imported" is ilastik's own forest, run here; "ours" takes the classes for
as common as they are painted, as ilastik does. ilastik's kind of forest is random, so that a second one from the same labels
differs from the first. By how much says "two seeds": the mean over all pairs of scikit-learn's RandomForest(100) that differ in
the seed alone. Painted pixels are counted against the class that was painted and against ilastik's. The data are found as
benchmarks/accuracy.py does. Ends with the bars.
"""

import argparse
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from benchmarks.accuracy import DATA
from brushwork import Image, Labels, open_image
from brushwork.blocks import whole
from brushwork.classifier import Classifier, WithProbabilities
from brushwork.interchange.ilp import IlpProject, open_ilp
from brushwork.interchange.ilp_images import labels_on, locate, open_dataset
from brushwork.interchange.ilp_models import classifier_of, tell_dialect
from brushwork.training import fit, prepare

GOLDEN = DATA / "e1_ilastik_golden"
AGREEMENT, DIFFERING = 0.95, 0.005  # the bars: pixels at least, painted pixels at most
PAIRS = [
    *((f"pc/PixelClassification{n}", 1, f"pc/{n}.h5/data", f"pc/{n}_Probabilities.h5")
      for n in ("2d", "2d3c", "3d", "3d1c", "3d2c", "5t2d1c", "5t2d2c", "5t3d2c")),
    ("api/PixelClass", 1, "api/Data_1channel.png", "api/res-Data_1channel_pc1xyc.npy"),
    ("api/2464_PixelClassification_xy_input", 1, "api/Data_1channel.png", "api/res-Data_1channel_pc1xy.npy"),
    ("api/PixelClass3Channel", 1, "api/Data_3channel.png", "api/res-Data_3channel_pc3c.npy"),
    ("api/PixelClass3D", 1, "api/Data_3D.npy", "api/res-Data_3D_pc3d.npy"),
    ("api/PixelClass3D_2D_3D_feature_mix", 1, "api/Data_3D.npy", "api/res-Data_3D_pc3d2dfm.npy"),
    ("api/Autocontext_2D", 1, "api/Data_1channel.png", "api/res-Data_1channel_ac2ds1.npy"),
    ("api/Autocontext_2D", 2, "api/Data_1channel.png", "api/res-Data_1channel_ac2ds2.npy"),
    ("api/Autocontext_3D", 1, "api/Data_3D.npy", "api/res-Data_3D_ac2ds1.npy"),
    ("api/Autocontext_3D", 2, "api/Data_3D.npy", "api/res-Data_3D_ac2ds2.npy"),
]  # fmt: skip


class Golden:
    """A project of ilastik's, and what ilastik stored for its image. stage : of Autocontext; the second sees ilastik's first."""

    def __init__(self, project: str, stage: int, image: str, result: str) -> None:
        self.name = Path(project).name.removeprefix("PixelClassification") + (
            f" stage {stage}" if "Auto" in project else ""
        )
        self.project: IlpProject = open_ilp(GOLDEN / f"{project}.ilp")
        raw = self.project.lanes[0].raw
        seen = open_dataset(self.project, raw) if locate(self.project, raw) else open_image(GOLDEN / image)
        labels = labels_on(seen, self.project.stage(stage).labels[0])
        dialect = tell_dialect(self.project, [(seen, labels_on(seen, self.project.stage(1).labels[0]))])
        self.imported = classifier_of(self.project, stage=stage, dialect=dialect, examples=[(seen, labels)])
        self.image: Image = WithProbabilities(seen, self.imported.earlier) if self.imported.earlier else seen
        self.labels: Labels = labels
        self.result = GOLDEN / result

    @cached_property
    def maps(self) -> NDArray[np.float32]:
        """(n_maps, n) of all pixels, in the order of `stored`."""
        features = self.imported.features
        parts = [
            features.at(self.image, features.block(self.image, whole(self.image.shape, t))).reshape(features.n_maps, -1)
            for t in range(self.image.n_frames)
        ]
        return np.concatenate(parts, axis=1)

    @cached_property
    def stored(self) -> NDArray[np.int64]:
        """(n,) ilastik's most probable class, from 0."""
        if self.result.suffix == ".npy":
            return np.load(self.result).argmax(-1).ravel()
        with h5py.File(self.result) as file:
            return file["exported_data"][...].argmax(-1).ravel()

    @cached_property
    def painted(self) -> NDArray[np.int64]:
        """(n_painted,) where the painted pixels are in `stored`."""
        at = (self.labels.frames, *self.labels.positions.T)
        return np.ravel_multi_index(at, (self.image.n_frames, *self.image.shape))

    def trained(self, priors: str, seed: int = 0) -> Classifier:
        examples = [(self.image, self.labels)]
        prepared = prepare(examples, self.imported.features, classes=self.imported.classes, priors=priors)
        return fit(prepared, seed=seed)

    def answer(self, model: Classifier) -> NDArray[np.int64]:
        return replace(model, earlier=None).probabilities(self.maps).argmax(0)

    def scikit_learns(self, seed: int) -> NDArray[np.int64]:
        rows, pixels = self.maps[:, self.painted].T, self.maps.T
        forest = RandomForestClassifier(100, random_state=seed, n_jobs=2).fit(rows, self.labels.classes)
        parts = np.array_split(np.arange(len(pixels)), -(-len(pixels) // 100_000))
        return np.concatenate([forest.predict_proba(pixels[part]).argmax(1) for part in parts])


@dataclass(frozen=True)
class Found:
    """Shares of pixels with ilastik's class; of painted pixels, those of another class than was painted, and than ilastik's."""

    imported: float
    image: float
    strokes: float  # as image: ours, by the priors
    reference: float  # mean over the seeds of scikit-learn's forest
    two_seeds: float  # mean over the pairs of its seeds
    off_painted: float
    off_stored: float
    reference_off: float


def measure(case: Golden, seeds: int) -> Found:
    y, at = case.labels.classes - 1, case.painted
    image, strokes = (
        [case.answer(case.trained(priors, seed)) for seed in range(seeds)] for priors in ("image", "strokes")
    )
    references = [case.scikit_learns(seed) for seed in range(seeds)]
    return Found(
        imported=(case.answer(case.imported) == case.stored).mean(),
        image=np.mean([(answer == case.stored).mean() for answer in image]),
        strokes=np.mean([(answer == case.stored).mean() for answer in strokes]),
        reference=np.mean([(answer == case.stored).mean() for answer in references]),
        two_seeds=np.mean([(a == b).mean() for a, b in combinations(references, 2)]),
        off_painted=np.mean([(answer[at] != y).mean() for answer in strokes]),
        off_stored=np.mean([(answer[at] != case.stored[at]).mean() for answer in strokes]),
        reference_off=np.mean([(answer[at] != y).mean() for answer in references]),
    )


HEAD = """| project | strokes, pixels | imported | ours | image | scikit-learn | two seeds | off: ours | to ilastik | scikit-learn |
|---|---|---|---|---|---|---|---|---|---|"""


def row(case: Golden, found: Found) -> str:
    labels = case.labels
    painted = [labels.chosen(labels.classes == c) for c in range(1, case.imported.n_classes + 1)]
    strokes = "/".join(str(len(np.unique(of_class.strokes))) for of_class in painted)
    pixels = "/".join(str(len(of_class)) for of_class in painted)
    agreement = (found.imported, found.strokes, found.image, found.reference, found.two_seeds)
    off = (found.off_painted, found.off_stored, found.reference_off)
    told = [f"{share:.2%}" for share in (*agreement, *off)]
    return f"| {case.name} | {strokes}, {pixels} | {' | '.join(told)} |"


def bars(results: dict[str, Found]) -> list[tuple[str, bool]]:
    """(what was asked and what was reached, whether it holds)."""
    told = []
    for name, found in results.items():
        who = (
            "two forests of ilastik's kind agree as well"
            if found.two_seeds >= AGREEMENT
            else "two forests of ilastik's kind agree less"
        )
        agree = f"{found.strokes:.2%} agree, wanted {AGREEMENT:.0%} ({who})"
        what = f"{name}: {agree}; {found.off_painted:.2%} of the painted differ, wanted {DIFFERING:.1%} at most"
        told.append((what, found.strokes >= AGREEMENT and found.off_painted <= DIFFERING))
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="forests of each kind, at least 2; shares are their means")
    seeds = max(2, parser.parse_args().seeds)
    results = {}
    print(HEAD)
    for pair in PAIRS:
        case = Golden(*pair)
        results[case.name] = found = measure(case, seeds)
        print(row(case, found), flush=True)
    print()
    for what, holds in bars(results):
        print("PASS" if holds else "FAIL", what)


if __name__ == "__main__":
    main()
