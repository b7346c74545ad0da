"""From nothing to a report in a minute: make an image, "paint" a few strokes, train, predict, look.

    python examples/demo.py [FOLDER]        # FOLDER is demo-output by default

Two synthetic fluorescence images with known truth are made; one is painted, both are predicted. Everything after that is done by
the `brushwork` commands that are printed, so that they can be repeated on images of your own.
"""

import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

import brushwork as bw

EDGE = 768  # pixels
PIXEL_SIZE = 0.325  # micrometres, a 20x objective
CLASSES = ("background", "nucleus", "fibre")
COLORS = ("#0072B2", "#E69F00", "#009E73")
N_STROKES = {"background": 12, "nucleus": 12, "fibre": 8}
STROKE_LENGTH = {"background": 60, "nucleus": 35, "fibre": 40}  # pixels

Rng = np.random.Generator


def main() -> None:
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "demo-output")
    shutil.rmtree(out / "results", ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    print("Making two images of cells and painting a few strokes on the first ...")
    truth = {name: write_image(out / f"{name}.tif", seed) for name, seed in (("cells_a", 1), ("cells_b", 2))}
    write_strokes(out / "strokes_a.tif", truth["cells_a"])
    names = f"--classes {','.join(CLASSES)} --colors '{','.join(COLORS)}'"
    brushwork(out, f"train cells_a.tif --labels strokes_a.tif {names} -o cells.bwm --overwrite")
    brushwork(out, "predict cells.bwm cells_a.tif cells_b.tif -o results")
    brushwork(out, "predict cells.bwm cells_a.tif -o results/uncertainty --output uncertainty --as tiff")
    brushwork(out, "report results -o report.html")
    write_overview(out)
    tell(out, truth)


def brushwork(folder: Path, text: str) -> None:
    """Print a command and run it in `folder`."""
    print(f"\n$ brushwork {text}", flush=True)
    executable = Path(sys.executable).parent / "brushwork"
    began = time.perf_counter()
    done = subprocess.run([executable, *shlex.split(text)], cwd=folder, env=os.environ, check=False)
    if done.returncode:
        sys.exit(f"brushwork {text} failed (exit {done.returncode})")
    print(f"  took {time.perf_counter() - began:.1f} s")


# -------------------------------------------------------------------------------------------------------------- the images


def write_image(path: Path, seed: int) -> NDArray[np.uint8]:
    """Write a synthetic image; returns its truth, (y, x) classes from 1."""
    rng = np.random.default_rng(seed)
    nuclei, nucleus = nuclei_of(rng)
    fibres, fibre = fibres_of(rng)
    y, x = np.mgrid[:EDGE, :EDGE] / EDGE
    light = 0.75 + 0.5 * np.exp(-((y - 0.4) ** 2 + (x - 0.55) ** 2) / 0.35)
    haze = 60 * smooth_noise(rng, 90) + 220 * ndimage.gaussian_filter(nuclei, 25)
    photons = light * (130 + haze + 330 * nuclei + 330 * fibres)
    photons = ndimage.gaussian_filter(photons, 1.1).clip(1)
    counts = 4.0 * rng.poisson(photons / 4) + rng.normal(100, 9, photons.shape)
    tifffile.imwrite(path, counts.clip(0, 65535).astype(np.uint16), ome=True, metadata=ome_metadata())
    return np.where(nucleus, 2, np.where(fibre, 3, 1)).astype(np.uint8)


def ome_metadata() -> dict[str, object]:
    size = {"PhysicalSizeX": PIXEL_SIZE, "PhysicalSizeY": PIXEL_SIZE}
    return {"axes": "YX", **size, "PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm"}


def smooth_noise(rng: Rng, sigma: float) -> NDArray[np.float64]:
    """(EDGE, EDGE) noise with details of about sigma pixels, mean 0, spread 1."""
    noise = ndimage.gaussian_filter(rng.standard_normal((EDGE, EDGE)), sigma, mode="wrap")
    return (noise - noise.mean()) / noise.std()


def nuclei_of(rng: Rng) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Brightness of bent ellipses that hardly touch, each with its own brightness and a mottled inside; and their mask."""
    bend_y, bend_x = 3.0 * smooth_noise(rng, 9), 3.0 * smooth_noise(rng, 9)
    brightness, mask = np.zeros((EDGE, EDGE)), np.zeros((EDGE, EDGE), bool)
    texture = 1 + 0.12 * smooth_noise(rng, 3)
    for _ in range(260):
        cy, cx = rng.uniform(0, EDGE, 2)
        long, short, angle = rng.uniform(17, 27), rng.uniform(12, 17), rng.uniform(0, np.pi)
        near = tuple(slice(max(int(c) - 40, 0), min(int(c) + 40, EDGE)) for c in (cy, cx))
        y, x = np.mgrid[near]
        y, x = y + bend_y[near] - cy, x + bend_x[near] - cx
        along, across = y * np.sin(angle) + x * np.cos(angle), y * np.cos(angle) - x * np.sin(angle)
        distance = (along / long) ** 2 + (across / short) ** 2
        if (mask[near] & (distance < 1.4)).any() or mask.mean() > 0.17:
            continue
        mask[near] |= distance < 1
        brightness[near] += (distance < 1) * texture[near] * rng.lognormal(0.1, 0.35)
    return brightness, mask


def fibres_of(rng: Rng) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Brightness of curved, thin, autofluorescent fibres, and their mask."""
    brightness = np.zeros((EDGE, EDGE))
    uneven = 1 + 0.15 * smooth_noise(rng, 12)
    for _ in range(11):
        line = np.ones((EDGE, EDGE), bool)
        points = path_of(rng, rng.uniform(0, EDGE, 2), int(rng.uniform(350, 900)), bend=0.012)
        points = points[((points >= 0) & (points < EDGE)).all(1)]
        line[tuple(points.T)] = False
        profile = np.exp(-0.5 * (ndimage.distance_transform_edt(line) / rng.uniform(1.6, 2.4)) ** 2)
        brightness = np.maximum(brightness, profile * uneven * rng.uniform(0.6, 1.3))
    return brightness, brightness > 0.4


def path_of(rng: Rng, start: NDArray[np.float64], length: int, bend: float) -> NDArray[np.int64]:
    """(length, 2) pixels of a curve that wanders off from `start`; bend: radians per pixel."""
    turn = ndimage.gaussian_filter1d(rng.standard_normal(length), 20, mode="wrap")
    angle = rng.uniform(0, 2 * np.pi) + np.cumsum(bend * turn / turn.std())
    return np.round(start + np.cumsum(np.column_stack([np.sin(angle), np.cos(angle)]), 0)).astype(np.int64)


# ------------------------------------------------------------------------------------------------------------- the strokes


def write_strokes(path: Path, truth: NDArray[np.uint8]) -> None:
    """Paint the way a person does: short, curved strokes well inside things, a few per class, spread over the image."""
    rng = np.random.default_rng(7)
    strokes = np.zeros_like(truth)
    for value, name in enumerate(CLASSES, start=1):
        depth = ndimage.distance_transform_edt(truth == value)
        starts: list[NDArray[np.int64]] = []
        for i in range(N_STROKES[name]):
            close = i % 2 and name != "fibre"  # every other one near a border, where it matters
            choices = (depth > 1.5) & (depth < 3) if close else depth > min(6, depth.max() / 2)
            start = far_from(starts, np.argwhere(choices), rng)
            starts.append(start)
            strokes[tuple(stroke_from(start, np.minimum(depth, 2 if close else 4), STROKE_LENGTH[name], rng).T)] = value
    tifffile.imwrite(path, strokes, ome=True, metadata=ome_metadata())


def far_from(others: list[NDArray[np.int64]], choices: NDArray[np.int64], rng: Rng) -> NDArray[np.int64]:
    """Of a few random positions among `choices`, the one farthest from all `others`."""
    few = choices[rng.integers(len(choices), size=8)]
    distance = [min((np.hypot(*(at - other)) for other in others), default=0.0) for at in few]
    return few[int(np.argmax(distance))]


def stroke_from(start: NDArray[np.int64], depth: NDArray[np.float64], length: int, rng: Rng) -> NDArray[np.int64]:
    """(n, 2) pixels of a smooth stroke, three wide, that steers by `depth`, the distance to the outside, and stays inside."""
    at, heading, walk = start.astype(float), rng.uniform(0, 2 * np.pi), [start]
    ahead = [depth_at(depth, at, a, 6) for a in heading + np.linspace(0, 2 * np.pi, 24)]
    heading += np.linspace(0, 2 * np.pi, 24)[int(np.argmax(ahead))]  # along what is thin
    for _ in range(length):
        turns = heading + rng.normal(0, 0.1) + np.array([0.0, -0.25, 0.25])
        seen = [depth_at(depth, at, a, 3) for a in turns]
        heading = turns[int(np.argmax(seen))]
        at = at + np.array([np.sin(heading), np.cos(heading)])
        if depth_at(depth, at, heading, 0) < 1:
            break
        walk.append(np.round(at).astype(np.int64))
    thin = np.array(walk)
    brush = [(0, 0), (0, 1), (1, 0), (0, -1), (-1, 0)]
    thick = np.unique((thin[:, None] + brush).reshape(-1, 2).clip(0, EDGE - 1), axis=0)
    return thick[depth[tuple(thick.T)] > 0]


def depth_at(depth: NDArray[np.float64], at: NDArray[np.float64], heading: float, ahead: float) -> float:
    """The depth some pixels ahead, 0 outside the image."""
    y, x = np.round(at + ahead * np.array([np.sin(heading), np.cos(heading)])).astype(int)
    return float(depth[y, x]) if 0 <= y < EDGE and 0 <= x < EDGE else 0.0


# ------------------------------------------------------------------------------------------------------------ the pictures


def write_overview(out: Path) -> None:
    """Image, strokes, segmentation and uncertainty side by side: overview.png."""
    corner = (slice(140, 140 + 420), slice(90, 90 + 420))
    gray = contrast(tifffile.imread(out / "cells_a.tif"))[corner]
    strokes = tifffile.imread(out / "strokes_a.tif")[corner]
    classes = segmentation_of(out / "results" / "cells_a_probabilities.ome.zarr")[corner]
    uncertainty = tifffile.imread(out / "results" / "uncertainty" / "cells_a_uncertainty.tif").squeeze()[corner]
    wide = ndimage.grey_dilation(strokes, size=3)
    panels = {
        "image": np.repeat(gray[..., None], 3, -1),
        "a few strokes": painted(gray, wide, np.where(wide > 0, 1.0, 0.0)),
        "every pixel classified": painted(gray, classes, np.array([0, 0.14, 0.55, 0.55])[classes]),
        "where it is unsure": np.repeat(uncertainty[..., None], 3, -1),
    }
    side_by_side(panels, edge=340, gap=14).save(out / "overview.png", optimize=True)


def contrast(image: NDArray) -> NDArray[np.uint8]:
    low, high = np.percentile(image, (1, 99.8))
    return ((image - low) / (high - low) * 255).clip(0, 255).astype(np.uint8)


def segmentation_of(path: Path) -> NDArray[np.uint8]:
    """(y, x) classes from 1: the most probable one."""
    image = bw.open_image(path)
    return (image.read(bw.Region((0, 0), image.shape)).argmax(0) + 1).astype(np.uint8)


def painted(gray: NDArray[np.uint8], classes: NDArray[np.uint8], opacity: NDArray[np.float64]) -> NDArray[np.uint8]:
    """(y, x, 3): a gray picture with class colours over it."""
    palette = np.array([(0, 0, 0)] + [tuple(bytes.fromhex(c[1:])) for c in COLORS], float)
    alpha = opacity[..., None]
    return ((1 - alpha) * gray[..., None] + alpha * palette[classes]).astype(np.uint8)


def side_by_side(panels: dict[str, NDArray[np.uint8]], edge: int, gap: int) -> Image.Image:
    """Pictures in a row on white, each with its name below; 256 colours, to be small."""
    caption = 34
    sheet = Image.new("RGB", (len(panels) * (edge + gap) - gap, edge + caption), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(17)
    for i, (name, pixels) in enumerate(panels.items()):
        left = i * (edge + gap)
        sheet.paste(Image.fromarray(pixels).resize((edge, edge), Image.Resampling.LANCZOS), (left, 0))
        draw.text((left + edge / 2, edge + caption / 2 + 2), name, fill="#3a4350", font=font, anchor="mm")
    return with_few_colours(sheet)


def with_few_colours(picture: Image.Image) -> Image.Image:
    """The picture in 256 colours; those of the classes get enough of them however little is painted."""
    swatches = Image.new("RGB", (picture.width, 2 * picture.height), "white")
    swatches.paste(picture, (0, 0))
    for i, color in enumerate(COLORS):
        swatches.paste(color, (0, picture.height + 40 * i, picture.width, picture.height + 40 * (i + 1)))
    return picture.quantize(palette=swatches.quantize(256), dither=Image.Dither.NONE)


def tell(out: Path, truth: dict[str, NDArray[np.uint8]]) -> None:
    print("\nAgainst the known truth, which no step above has seen:")
    for name, classes in truth.items():
        found = segmentation_of(out / "results" / f"{name}_probabilities.ome.zarr")
        recall = ", ".join(f"{c} {np.mean(found[classes == k] == k):.1%}" for k, c in enumerate(CLASSES, start=1))
        seen = "strokes on it" if name == "cells_a" else "never painted"
        print(f"  {name} ({seen}): {np.mean(found == classes):.1%} of pixels right; found of {recall}")
    print(f"\nWhat is where, in {out.resolve()}:")
    for file, what in {
        "report.html": "the report: open it in a browser",
        "overview.png": "image, strokes, segmentation and uncertainty side by side",
        "cells_a.tif, cells_b.tif": "the images",
        "strokes_a.tif": "the strokes: 0 unpainted, " + ", ".join(f"{k} {c}" for k, c in enumerate(CLASSES, start=1)),
        "cells.bwm": "the model",
        "results/": "probabilities as OME-Zarr, one folder per image; results/uncertainty/ as TIFF",
    }.items():
        print(f"  {file:26}{what}")


if __name__ == "__main__":
    main()
