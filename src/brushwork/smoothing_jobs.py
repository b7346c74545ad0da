"""A stored segmentation into a stored segmentation without small regions."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from brushwork.blocks import grid, run_over
from brushwork.errors import RunError
from brushwork.image import Image
from brushwork.io import Layout, layout_of
from brushwork.io.aside import refuse_existing
from brushwork.io.fingerprints import fingerprint
from brushwork.io.run_folder import RunFolder
from brushwork.io.writers import check_layout
from brushwork.jobs import files_state
from brushwork.smoothing import Progress, Smoothed, Smoothing, smoothed

MOST_CLASSES = 255  # more are numbers of objects, which have no names and colours


def smooth(
    segmentation: Image,
    out: str | Path,
    rule: Smoothing,
    *,
    classes: Sequence[str] = (),
    colors: Sequence[str] = (),
    block: int | None = None,
    threads: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Smoothed:
    """Replace the small regions of a segmentation by what surrounds them, and write the result.

    segmentation : one channel of whole numbers, 0 for no class. out : its suffix says the format: .ome.zarr, .tif, .h5,
    .nii, .npy or .png. classes, colors : names and "RRGGBB" of the classes 1, 2, ... block : edge in pixels; it changes no result.
    An interrupted call is continued by the same call.

    Raises
    ------
    InputError, RunError
        where the image is no segmentation, or the output exists or cannot be written.
    """
    out = Path(out)
    layout = replace(layout_of(segmentation), kind="segmentation", channel_names=tuple(classes), colors=())
    check_layout(out, layout)
    refuse_existing(out, overwrite)
    found = smoothed(segmentation, rule, edge=block, threads=threads, progress=progress)
    layout = _named(layout, found.n_classes, tuple(classes), tuple(colors))
    plan = {
        "segmentation": [fingerprint(segmentation), files_state(segmentation.uri)],
        "rule": asdict(rule),
        "classes": layout.channel_names,
    }
    with RunFolder.held(out, layout, plan, overwrite) as run:
        try:
            _fill(run, found, threads, progress)
            run.finish((lambda done, total: progress("writing", done, total)) if progress else None)
        except OSError as error:
            reason = f"{error.strerror or error}; what is done is kept in {run.folder}"
            raise RunError(f"{out} could not be written: {reason}") from error
    return found


def _named(layout: Layout, n_classes: int, classes: tuple[str, ...], colors: tuple[str, ...]) -> Layout:
    """With a name and a colour for every class."""
    if n_classes > MOST_CLASSES:
        return replace(layout, kind="objects", channel_names=("objects",), colors=())
    names = classes + tuple(f"class {k}" for k in range(len(classes) + 1, n_classes + 1))
    return replace(layout, channel_names=names, colors=colors if len(colors) == len(names) else ())


def _fill(run: RunFolder, found: Smoothed, threads: int | None, progress: Progress | None) -> None:
    """Draw the tasks that are missing."""
    done, total = 0, run.layout.n_frames * int(np.prod(run.layout.shape))
    for i, region in enumerate(run.store.task_regions()):
        if not run.is_done(i):
            pixels = np.empty((1, *region.shape), run.layout.dtype)
            parts = grid(region, (found.edge,) * len(region.start))
            for part, classes in run_over(found.draw, parts, threads=threads):
                pixels[0][part.slices_in(region)] = classes
            run.keep(i, region, pixels)
        done += region.size
        if progress is not None:
            progress("smoothing", done, total)
