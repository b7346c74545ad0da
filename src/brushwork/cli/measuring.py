"""brushwork measure, find-cells, select."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from brushwork.cli import options as o
from brushwork.cli.console import before_computing, console, progress
from brushwork.cli.main import app
from brushwork.cli.segmenting import (
    Block,
    ClassNames,
    Ignore,
    Measure,
    Raw,
    SegmentationFile,
    channel_of,
    named,
    open_beside,
    segmentation_of,
)
from brushwork.errors import InputError, unknown

if TYPE_CHECKING:
    from brushwork.image import ArrayImage

TABLES = (".csv", ".parquet")
Signal = Annotated[
    str,
    typer.Option("--intensity", help="An object's signal: max or mean of a cube around its centre, or of the object."),
]
SignalRadius = Annotated[int, typer.Option("--signal-radius", min=0, help="Of the cube for max and mean; pixels.")]
BackgroundRadius = Annotated[
    int, typer.Option("--background-radius", min=0, help="Of the cube whose values are the background; pixels.")
]
Percentile = Annotated[float, typer.Option("--percentile", help="Of the values in that cube, 0 to 100.")]
TableFile = Annotated[Path, typer.Option("-o", "--out", help="The table to write: .csv or .parquet.")]


@app.command()
def measure(
    labels: Annotated[str, typer.Argument(help="An image of objects: a number per object, 0 between them.")],
    out: TableFile,
    raw: Raw = None,
    segmentation: SegmentationFile = None,
    classes: ClassNames = None,
    probabilities: Annotated[
        str | None, typer.Option("--probabilities", help="A probability map, of which each object's mean is measured.")
    ] = None,
    class_: Annotated[
        str | None, typer.Option("--class", help="Its class; not needed where the map has one channel.")
    ] = None,
    groups: Measure = None,
    intensity: Signal = "max",
    signal_radius: SignalRadius = 1,
    background_radius: BackgroundRadius = 4,
    percentile: Percentile = 5.0,
    where: Annotated[
        str, typer.Option("--where", help="Which rows are written, a condition on columns: 'area >= 20'.")
    ] = "",
    axes: o.Axes = None,
    level: o.Level = None,
    pixel_size: o.PixelSize = None,
    block: Block = None,
    threads: o.Threads = None,
    overwrite: o.Overwrite = False,
) -> None:
    """Measure the objects of a label image, from brushwork or any other program, one row each."""
    from brushwork.io import open_image
    from brushwork.io.tables import check_free, write_table
    from brushwork.measure import Measurements, measure, stored_labels

    check_free(out, overwrite)
    image = open_image(labels, axes=axes, level=o.level_of(level), pixel_size=o.pixel_size_of(pixel_size))
    if len(image.channel_names) > 1:
        raise InputError(f"{image.uri} has {len(image.channel_names)} channels; objects are one number per pixel")
    spatial = image.axes.replace("c", "")
    images = {name: open_beside(uri, image) for name, uri in named(raw or []).items()}
    likely = open_image(probabilities, like=spatial) if probabilities is not None else None
    typed = segmentation_of(segmentation, classes, image) if segmentation is not None else None
    wanted = Measurements(
        tuple(o.comma_list(groups)) if groups else None, background_radius, percentile, intensity, signal_radius
    )
    before_computing()
    began = time.perf_counter()
    with progress(Path(labels).name) as show:
        table = measure(
            stored_labels(image),
            image.shape,
            n_frames=image.n_frames,
            images=images,
            probability=(likely, channel_of(class_, likely)) if likely is not None else None,
            classes=typed,
            pixel_size=first_pixel_size([image, *images.values()]),
            measurements=wanted,
            edge=block,
            threads=threads,
            progress=show,
        )
    rows = table.where(where) if where else table
    write_table(rows, out, overwrite=overwrite)
    _tell(out, f"{len(rows):,} of {len(table):,} objects" if where else f"{len(rows):,} objects", began)


@app.command()
def find_cells(
    probabilities: Annotated[
        str, typer.Argument(help="A probability map of a volume, such as brushwork predict writes.")
    ],
    raw: Annotated[str, typer.Argument(help="The image whose intensities are measured.")],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder for NAME_cells.csv, or the file: .csv or .parquet.")
    ] = Path("."),
    class_: Annotated[
        str | None, typer.Option("--class", help="The class of cells; not needed where the map has one channel.")
    ] = None,
    channel: Annotated[
        str | None, typer.Option("--channel", help="Channel of the image, by name or number; needed if it has several.")
    ] = None,
    pixel_size: o.PixelSize = None,
    threshold: Annotated[float, typer.Option("--threshold", help="A pixel counts from this probability on.")] = 0.7,
    min_size: Annotated[
        str, typer.Option("--min-size", help="Smaller objects are left out: pixels, or e.g. 20um3.")
    ] = "1",
    max_size: Annotated[
        str | None, typer.Option("--max-size", help="Larger objects are several cells, one at each peak of the image.")
    ] = None,
    ignore: Ignore = None,
    intensity: Signal = "max",
    signal_radius: SignalRadius = 1,
    background_radius: BackgroundRadius = 4,
    percentile: Percentile = 5.0,
    sbr: Annotated[
        float | None, typer.Option("--sbr", help="Also write NAME_cells_filtered.csv: (deltaI + BG) / BG above this.")
    ] = None,
    delta: Annotated[float | None, typer.Option("--delta", help="The same, with deltaI above this.")] = None,
    axes: o.Axes = None,
    level: o.Level = None,
    block: Block = None,
    threads: o.Threads = None,
    overwrite: o.Overwrite = False,
) -> None:
    """Find cells and write ecc's table, X, Y, Z, deltaI, BG, vol and deltaI_total; every cell is in it once."""
    from brushwork.find_cells import CellRule, find_cells
    from brushwork.io import open_image
    from brushwork.io.places import stem
    from brushwork.measure import Measurements

    image = open_image(probabilities, axes=axes, level=o.level_of(level), pixel_size=o.pixel_size_of(pixel_size))
    seen = one_channel(open_beside(raw, image), channel)
    size, ndim = first_pixel_size([image, seen]), len(image.shape)
    rule = CellRule(
        channel_of(class_, image),
        threshold,
        o.size_of(min_size, size, ndim),
        o.size_of(max_size, size, ndim) if max_size else None,
        Measurements(None, background_radius, percentile, intensity, signal_radius),
        sbr,
        delta,
    )
    file = out if out.suffix.lower() in TABLES else out / f"{stem(probabilities)}_cells.csv"
    before_computing()
    began = time.perf_counter()
    with progress(Path(probabilities).name) as show:
        found = find_cells(
            image,
            seen,
            file,
            rule,
            ignore=open_image(ignore, like=image.axes.replace("c", "")) if ignore is not None else None,
            pixel_size=size,
            block=block,
            threads=threads,
            overwrite=overwrite,
            progress=show,
        )
    _tell(found.files[0], f"{len(found.table):,} cells", began)
    if found.filtered is not None:
        said = f"{len(found.filtered):,} of them stand out enough"
        console.print(f"{found.files[1]}  {said}", highlight=False, soft_wrap=True)


@app.command()
def select(
    table: Annotated[Path, typer.Argument(help="A table: .csv or .parquet.")],
    where: Annotated[
        str, typer.Option("--where", help="Which rows stay: 'area >= 20 and \"intensity_mean-raw\" > 200'.")
    ],
    out: TableFile,
    overwrite: o.Overwrite = False,
) -> None:
    """Write the rows of a table for which a condition on its columns holds."""
    from brushwork.io.tables import check_free, read_table, write_table

    check_free(out, overwrite)
    rows = read_table(table)
    chosen = rows.where(where)
    write_table(chosen, out, overwrite=overwrite)
    console.print(f"{out}  {len(chosen):,} of {len(rows):,} rows", highlight=False, soft_wrap=True)


def _tell(file: Path, what: str, began: float) -> None:
    console.print(f"{file}  {what}  ({time.perf_counter() - began:.2f} s)", highlight=False, soft_wrap=True)


def first_pixel_size(images: Sequence["ArrayImage"]) -> tuple[float, ...] | None:
    """The pixel size of the first image that tells one."""
    return next((image.pixel_size for image in images if image.pixel_size is not None), None)


def one_channel(image: "ArrayImage", channel: str | None) -> "ArrayImage":
    """The channel of an image, by name or number; of an image with one channel that one."""
    from brushwork.image import part_of

    names = image.channel_names
    if channel is None:
        if len(names) > 1:
            raise InputError(f"{image.uri} has the channels {', '.join(names)}; say which one, with --channel")
        return image
    if channel in names:
        at = names.index(channel)
    elif channel.isdigit() and int(channel) < len(names):
        at = int(channel)
    else:
        raise unknown("channel", channel, names)
    return part_of(image, {"c": (at, at + 1)})
