"""What objects will look like before anything is stored: outlines over a section, and where each class counts."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from brushwork.blocks import Region
from brushwork.errors import InputError
from brushwork.foreground import Foreground
from brushwork.image import ArrayImage, Image, MaskView
from brushwork.io import write_image
from brushwork.io.aside import make_folder, partial_name, refuse_existing, told, written_aside
from brushwork.io.layout import PALETTE
from brushwork.io.writers import safe_names
from brushwork.objects import Progress, Rule, Volume, find_objects, masks
from brushwork.pieces import Pieces
from brushwork.segmenting import EDGES, Inputs, searched

CONTRAST = (1.0, 99.8)  # percentiles that become black and white
LARGEST_PREVIEW = 1 << 26  # pixels


def write_preview(
    probabilities: ArrayImage,
    out: str | Path,
    rule: Rule,
    inputs: Inputs | None = None,
    *,
    threads: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> tuple[Path, int]:
    """Draw outlines of the objects in the middle section of a part into OUT/preview.png; returns it and the number of objects."""
    from PIL import Image as Picture

    inputs, out = inputs or Inputs(), Path(out)
    path = out / "preview.png"
    refuse_existing(path, overwrite)
    make_folder(out)
    volume = searched(probabilities, inputs, EDGES[len(probabilities.shape)], threads)
    size = volume.image.shape
    if math.prod(size[-2:]) > LARGEST_PREVIEW:
        raise InputError(f"a preview of {size[-2]} x {size[-1]} pixels is too large; say which part, with --region")
    with told(path), Pieces(partial_name(out / "preview.pieces")) as pieces:
        objects = find_objects(volume, rule, pieces, progress)
        section = Region((*(n // 2 for n in size[:-2]), 0, 0), (*(n // 2 + 1 for n in size[:-2]), *size[-2:]))
        numbers = objects.draw(section).reshape(size[-2:])
        seen = volume.raw.read(section) if volume.raw is not None else rule.foreground.values(volume.image, section)
    grey = stretched(seen.reshape(-1, *size[-2:])[0])
    with written_aside(path, overwrite=overwrite) as aside:
        Picture.fromarray(outlined(grey, numbers)).save(aside, "PNG")
    return path, len(objects)


def stretched(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Values as 0 .. 255, black and white at the percentiles CONTRAST; pixels that are not finite become black."""
    finite = np.isfinite(values)
    low, high = np.percentile(values[finite], CONTRAST) if finite.any() else (0.0, 1.0)
    scaled = (np.where(finite, values, low) - low) / max(high - low, np.finfo(np.float32).tiny)
    return (scaled.clip(0, 1) * 255).round().astype(np.uint8)


def outlined(grey: NDArray[np.uint8], numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
    """A grey picture (y, x) with the outline of every object in one of some colours, (y, x, 3)."""
    near = np.pad(numbers, 1, mode="edge")
    edge = np.zeros(numbers.shape, bool)
    for other in (near[:-2, 1:-1], near[2:, 1:-1], near[1:-1, :-2], near[1:-1, 2:]):
        edge |= numbers != other
    picture = np.repeat(grey[..., np.newaxis], 3, axis=2)
    colors = np.array([tuple(bytes.fromhex(c)) for c in PALETTE], np.uint8)
    here = edge & (numbers > 0)
    picture[here] = colors[(numbers[here] - 1) % len(colors)]
    return picture


def write_masks(
    probabilities: ArrayImage, out: str | Path, rule: Rule, inputs: Inputs | None = None, *, overwrite: bool = False
) -> tuple[Path, ...]:
    """Write where each class reaches the threshold, 1 or 0, before anything is joined: OUT/masks/CLASS.ome.zarr."""
    folder = Path(out) / "masks"
    files: list[Path] = []
    for channel, name in enumerate(safe_names(probabilities.channel_names)):
        mask = _Mask(probabilities, (inputs or Inputs()).ignore, replace(rule.foreground, channel=channel, core=None))
        files += write_image(mask, folder / f"{name}.ome.zarr", overwrite=overwrite)
    return tuple(files)


@dataclass(frozen=True, eq=False)
class _Mask(MaskView):
    """Where a class counts."""

    ignore: Image | None
    foreground: Foreground

    @property
    def channel_names(self) -> tuple[str, ...]:
        return (self.image.channel_names[self.foreground.channel],)

    def read(self, region: Region) -> NDArray[np.float32]:
        """(1, *spatial) float32."""
        return masks(Volume(self.image, self.ignore), self.foreground, region)[0][np.newaxis].astype(np.float32)
