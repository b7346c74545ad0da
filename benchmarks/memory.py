"""Peak memory of predicting a volume that is larger than it.

    python -m benchmarks.memory [EDGE] [FEATURES]

Makes EDGE^3 uint16 (1024: 2 GiB) as OME-Zarr in a temporary folder, predicts it with two threads in a process of its own, and
prints that process's peak resident memory. Takes minutes.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from brushwork.image import as_image
from brushwork.io import Layout, OmeZarrStore
from brushwork.labels import from_array
from brushwork.training import train

LIMIT = 1.5  # GiB


def volume(path: Path, edge: int) -> None:
    rng = np.random.default_rng(0)
    store = OmeZarrStore.create(path, Layout((edge,) * 3, dtype=np.uint16, kind="image", pixel_size=(1, 1, 1)))
    tile = rng.integers(0, 4000, (1, *store.layout.shard)).astype(np.uint16)
    for region in store.task_regions():
        store.write(region, tile[(slice(None), *(slice(0, n) for n in region.shape))])


def model(path: Path, features: str) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 4000, (80, 80, 80)).astype(np.float32)
    strokes = (pixels > 3900).astype(np.uint8) * 2 + (pixels < 100).astype(np.uint8)
    train([(as_image(pixels, pixel_size=(1, 1, 1)), from_array(strokes))], features).save(path)


def main(edge: int, features: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        volume(place / "in.ome.zarr", edge)
        model(place / "m.bwm", features)
        command = [
            Path(sys.executable).parent / "brushwork",
            "predict",
            "m.bwm",
            "in.ome.zarr",
            "-o",
            "out.ome.zarr",
            "--threads",
            "2",
        ]
        began = time.perf_counter()
        subprocess.run(command, cwd=place, check=True)
        seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024**2  # Linux counts in KiB
    size = edge**3 * 2 / 1024**3
    verdict = "met" if peak < LIMIT else "MISSED"
    print(f"{edge}^3 uint16 ({size:.2f} GiB), features {features!r}, two threads: {seconds:.0f} s")
    print(
        f"peak resident memory {peak:.2f} GiB (bar {LIMIT} GiB): {verdict}; this process, which made the data, is not counted"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1024, sys.argv[2] if len(sys.argv) > 2 else "all")
