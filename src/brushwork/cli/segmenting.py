"""brushwork segment, measure, find-cells."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from brushwork.cli import options as o
from brushwork.cli.console import before_computing, console, errors, progress
from brushwork.cli.main import app
from brushwork.errors import InputError, unknown

if TYPE_CHECKING:
    from brushwork.image import ArrayImage
    from brushwork.segmenting import Inputs

ClassName = Annotated[
    str | None, typer.Option("--class", help="The class that objects are of; not needed where the map has one channel.")
]
Raw = Annotated[
    list[str] | None,
    typer.Option("--raw", help="An image whose intensities are measured, IMAGE or NAME=IMAGE; repeatable."),
]
SegmentationFile = Annotated[
    str | None, typer.Option("--segmentation", help="Classes of pixels, whose share in each object is measured.")
]
ClassNames = Annotated[
    str | None,
    typer.Option("--classes", help="Names of the segmentation's classes, from value 1 on; not needed if it has them."),
]
Ignore = Annotated[str | None, typer.Option("--ignore", help="A mask; pixels where it is 1 or more belong to nothing.")]
MinSize = Annotated[
    str | None, typer.Option("--min-size", help="Smaller objects are left out: pixels, or e.g. 20um2, 20um3.")
]
MaxSize = Annotated[
    str | None, typer.Option("--max-size", help="Larger objects are left out; with --split peaks they are split.")
]
Measure = Annotated[
    str | None,
    typer.Option("--measure", help="Groups of columns, e.g. basic,intensity; all that the inputs allow by default."),
]
Where = Annotated[
    str, typer.Option("--where", help="Which objects stay, a condition on columns: 'area >= 20 and solidity > 0.8'.")
]
Block = Annotated[int | None, typer.Option("--block", min=8, help="Edge of a block in pixels; never changes a result.")]


@app.command()
def segment(
    probabilities: Annotated[str, typer.Argument(help="A probability map, such as brushwork predict writes.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for objects.ome.zarr, cells.csv and cells.parquet.")],
    class_: ClassName = None,
    threshold: Annotated[
        float | None, typer.Option("--threshold", help="A pixel counts from this probability on; 0.5 by default.")
    ] = None,
    core: Annotated[
        float | None, typer.Option("--core", help="An object counts only where a pixel reaches this probability.")
    ] = None,
    beats_others: Annotated[
        bool, typer.Option("--beats-others", help="A pixel counts only where its class is the most probable one.")
    ] = False,
    smooth: Annotated[
        str, typer.Option("--smooth", help="Sigma of a Gaussian over the probabilities before, pixels: 1 or 0.5,1,1.")
    ] = "0",
    connectivity: Annotated[
        int | None, typer.Option("--connectivity", help="Neighbours of a pixel: 4 or 8; of a volume 6, 18 or 26.")
    ] = None,
    fill_holes: Annotated[bool, typer.Option("--fill-holes", help="What objects enclose belongs to them.")] = False,
    clear_border: Annotated[
        bool, typer.Option("--clear-border", help="Leave out objects that touch the image's edge.")
    ] = False,
    min_size: MinSize = None,
    max_size: MaxSize = None,
    split: Annotated[str, typer.Option("--split", help="Touching objects: none, watershed or peaks.")] = "none",
    split_on: Annotated[
        str, typer.Option("--split-on", help="What the watershed floods: distance, probability or image.")
    ] = "distance",
    min_distance: Annotated[
        float,
        typer.Option("--min-distance", help="Of two peaks nearer than this, the lower does not count; pixels."),
    ] = 4.0,
    depth: Annotated[
        float | None,
        typer.Option("--depth", help="A peak counts if it stands out this much; 1 pixel, or 0.1 of probability."),
    ] = None,
    max_split: Annotated[
        int, typer.Option("--max-split", help="Groups with more pixels in their box stay whole, and are marked.")
    ] = 1 << 24,
    expand: Annotated[
        str, typer.Option("--expand", help="Grow objects without merging them: pixels, or e.g. 3um.")
    ] = "0",
    raw: Raw = None,
    segmentation: SegmentationFile = None,
    classes: ClassNames = None,
    ignore: Ignore = None,
    measure: Measure = None,
    where: Where = "",
    region: Annotated[
        str | None, typer.Option("--region", help="A part of it: START:STOP for (z,)y,x; others stay empty.")
    ] = None,
    preview: Annotated[
        bool,
        typer.Option(
            "--preview", help="Only write a picture, OUT/preview.png: outlines of the objects (of a --region)."
        ),
    ] = False,
    masks: Annotated[
        bool, typer.Option("--masks", help="Also write a mask for every class: masks/CLASS.ome.zarr.")
    ] = False,
    axes: o.Axes = None,
    level: o.Level = None,
    pixel_size: o.PixelSize = None,
    block: Block = None,
    threads: o.Threads = None,
    overwrite: o.Overwrite = False,
) -> None:
    """Turn a probability map into single objects and a table of what was measured of them."""
    from brushwork.foreground import Foreground, sigmas
    from brushwork.io import open_image
    from brushwork.measure import Measurements
    from brushwork.objects import Rule
    from brushwork.previews import write_masks, write_preview
    from brushwork.segmenting import FLAG, segment
    from brushwork.splitting import Splitting

    image = open_image(probabilities, axes=axes, level=o.level_of(level), pixel_size=o.pixel_size_of(pixel_size))
    ndim, size = len(image.shape), image.pixel_size
    least = o.size_of(min_size, size, ndim) if min_size else 1
    most = o.size_of(max_size, size, ndim) if max_size else None
    splitting = Splitting(split, split_on, min_distance, depth, (most or 0) if split == "peaks" else 0, max_split)
    rule = Rule(
        Foreground(
            channel_of(class_, image),
            threshold if threshold is not None or beats_others else 0.5,
            core,
            beats_others,
            sigmas(o.numbers(smooth, "--smooth"), ndim),
        ),
        connectivity,
        fill_holes,
        clear_border,
        least,
        None if split == "peaks" else most,
        splitting,
    )
    typed = segmentation_of(segmentation, classes, image) if segmentation is not None else None
    inputs = inputs_of(image, raw or [], ignore, typed, region)
    before_computing()
    if preview:
        with progress("preview") as show:
            shown, n = write_preview(image, out, rule, inputs, threads=threads, overwrite=overwrite, progress=show)
        console.print(f"{shown}  {n:,} objects; nothing else was written", highlight=False, soft_wrap=True)
        return
    grow, spacing = o.length_of(expand, size)
    began = time.perf_counter()
    with progress(Path(probabilities).name) as show:
        made = segment(
            image,
            out,
            rule,
            inputs,
            grow=grow,
            spacing=spacing,
            measurements=Measurements(tuple(o.comma_list(measure))) if measure else None,
            where=where,
            formats=table_formats(),
            block=block,
            threads=threads,
            overwrite=overwrite,
            progress=show,
        )
        if masks:
            write_masks(image, out, rule, inputs, overwrite=overwrite)
    seconds = time.perf_counter() - began
    console.print(f"{made.labels}  {len(made.table):,} objects  ({seconds:.2f} s)", highlight=False, soft_wrap=True)
    for file in made.files:
        console.print(str(file), highlight=False, soft_wrap=True)
    if made.n_left_whole:
        said = f"{made.n_left_whole:,} groups were too large to be split (column {FLAG}); --max-split changes that"
        errors.print(said, style="dim", highlight=False, markup=False, soft_wrap=True)


def channel_of(class_: str | None, image: "ArrayImage") -> int:
    """The channel of a class, by name or number; of a map with one channel that one."""
    names = image.channel_names
    if class_ is None:
        if len(names) > 1:
            raise InputError(
                f"{image.uri} has the classes {', '.join(names)}; say which one objects are of, with --class"
            )
        return 0
    if class_ in names:
        return names.index(class_)
    if class_.isdigit() and int(class_) < len(names):
        return int(class_)
    raise unknown("class", class_, names)


def inputs_of(
    image: "ArrayImage",
    raw: Sequence[str],
    ignore: str | None,
    segmentation: "tuple[ArrayImage, tuple[str, ...]] | None",
    region: str | None,
) -> "Inputs":
    """What is opened besides the probability map."""
    from brushwork.io import open_image
    from brushwork.segmenting import Inputs

    spatial = image.axes.replace("c", "")
    return Inputs(
        {name: open_beside(uri, image) for name, uri in named(raw).items()},
        open_image(ignore, like=spatial) if ignore is not None else None,
        segmentation,
        o.region_of(region, image.shape) if region is not None else None,
    )


def open_beside(uri: str, image: "ArrayImage") -> "ArrayImage":
    """An image of the pixels of `image`; where a file does not tell its axes, one that `image` lacks is that of channels."""
    from brushwork.io import open_image

    own = image.axes.replace("c", "")
    for like in (own, "t" * ("t" in own) + "c" + own.replace("t", ""), own + "c"):
        with suppress(InputError):
            opened = open_image(uri, like=like)
            if opened.shape == image.shape:
                return opened
    return open_image(uri, like=own)


def segmentation_of(uri: str, classes: str | None, image: "ArrayImage") -> "tuple[ArrayImage, tuple[str, ...]]":
    """A segmentation of `image` and the names of its classes. classes : names that were given, in the order of their values."""
    from brushwork.io import open_segmentation

    opened = open_segmentation(uri, like=image.axes.replace("c", ""))
    names = tuple(o.comma_list(classes)) if classes else opened.classes
    if not names:
        raise InputError(f"{opened.image.uri} does not name its classes; name them from value 1 on, with --classes a,b")
    return opened.image, names


def named(raw: Sequence[str]) -> Mapping[str, str]:
    """ "raw=brain.h5" -> {"raw": "brain.h5"}; without a name it is the file's."""
    from brushwork.io.places import stem

    found: dict[str, str] = {}
    for text in raw:
        name, sign, uri = text.partition("=")
        if not sign or "/" in name or "\\" in name:
            name, uri = stem(text), text
        if name in found:
            raise InputError(f"two raw images are called {name!r}; give names: --raw dapi={uri}")
        found[name] = uri
    return found


def table_formats() -> tuple[str, ...]:
    """CSV, and Parquet where it can be written."""
    from importlib.util import find_spec

    return (".csv", ".parquet") if find_spec("pyarrow") else (".csv",)
