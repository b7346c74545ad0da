"""brushwork smooth."""

import time
from pathlib import Path
from typing import Annotated

import typer

from brushwork.cli import options as o
from brushwork.cli.console import before_computing, console, errors, progress
from brushwork.cli.main import app
from brushwork.errors import InputError, unknown


@app.command()
def smooth(
    segmentation: Annotated[str, typer.Argument(help="A segmentation: the class of every pixel, 0 for none.")],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="The file to write: .ome.zarr, .tif, .h5, .nii, .npy or .png.")
    ],
    min_region: Annotated[
        str, typer.Option("--min-region", help="Smaller regions are replaced: pixels, or e.g. 20um2, 20um3.")
    ],
    connectivity: Annotated[
        int | None, typer.Option("--connectivity", help="Neighbours of a pixel: 4 or 8; of a volume 6, 18 or 26.")
    ] = None,
    keep: Annotated[str, typer.Option("--keep", help="Classes whose small regions stay, names or numbers.")] = "",
    not_into: Annotated[
        str, typer.Option("--not-into", help="Classes that nothing is turned into, names or numbers.")
    ] = "",
    keep_edge: Annotated[bool, typer.Option("--keep-edge", help="Small regions at the image's edge stay.")] = False,
    axes: o.Axes = None,
    level: o.Level = None,
    pixel_size: o.PixelSize = None,
    block: Annotated[
        int | None, typer.Option("--block", min=8, help="Edge of a block in pixels; never changes a result.")
    ] = None,
    threads: o.Threads = None,
    overwrite: o.Overwrite = False,
) -> None:
    """Replace the small regions of a segmentation by what surrounds them, until none is left."""
    from brushwork.io import open_segmentation
    from brushwork.smoothing import Smoothing
    from brushwork.smoothing_jobs import smooth as smooth_image

    opened = open_segmentation(segmentation, axes=axes, level=o.level_of(level), pixel_size=o.pixel_size_of(pixel_size))
    image = opened.image
    rule = Smoothing(
        o.size_of(min_region, image.pixel_size, len(image.shape)),
        connectivity,
        _numbers(keep, opened.classes),
        _numbers(not_into, opened.classes),
        keep_edge,
    )
    before_computing()
    began = time.perf_counter()
    with progress(Path(segmentation).name) as show:
        found = smooth_image(
            image,
            out,
            rule,
            classes=opened.classes,
            colors=opened.colors,
            block=block,
            threads=threads,
            overwrite=overwrite,
            progress=show,
        )
    seconds = time.perf_counter() - began
    said = f"{found.n_regions:,} regions, {found.n_left:,} left; {found.n_pixels:,} pixels have another class"
    console.print(f"{out}  {said}  ({seconds:.2f} s)", highlight=False, soft_wrap=True)
    if found.n_small:
        left = (
            f"{found.n_small:,} of them are under {rule.min_region} pixels: they touch no region that they could join"
        )
        errors.print(left, style="dim", highlight=False, markup=False, soft_wrap=True)


def _numbers(text: str, classes: tuple[str, ...]) -> tuple[int, ...]:
    """ "stroma,3" -> the numbers of these classes."""
    numbers = []
    for word in o.comma_list(text) if text else ():
        if word in classes:
            numbers.append(classes.index(word) + 1)
        elif word.isdigit():
            numbers.append(int(word))
        elif classes:
            raise unknown("class", word, classes)
        else:
            raise InputError(f"class {word!r} was given, but the segmentation tells no names; give numbers, e.g. 1,3")
    return tuple(numbers)
