"""brushwork predict, brushwork convert."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from brushwork.cli import options as o
from brushwork.cli.console import before_computing, console, errors, parse_bytes, progress
from brushwork.cli.ilp import Dialect, is_ilp, model_of_ilp
from brushwork.cli.main import app
from brushwork.cli.projects import images_of, is_project, masks_of, model_of
from brushwork.errors import InputError, unknown

if TYPE_CHECKING:
    from brushwork.classifier import Classifier
    from brushwork.image import Image
    from brushwork.jobs import Settings

SUFFIXES = {"ome-zarr": ".ome.zarr", "tiff": ".tif", "hdf5": ".h5", "npy": ".npy", "png": ".png"}


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="A model, NAME.bwm, or a project, NAME.brushwork or NAME.ilp.")],
    images: Annotated[list[str] | None, typer.Argument(help="Images.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", help="Folder for the results, or one file for one image; of a project NAME_results."
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Of a project: every image in it.")] = False,
    task: Annotated[str, typer.Option("--task", help="Of a project with several tasks.")] = "",
    output: Annotated[
        str, typer.Option("--output", help="probabilities, segmentation, uncertainty or features.")
    ] = "probabilities",
    as_: Annotated[str | None, typer.Option("--as", help="ome-zarr (default), tiff, hdf5, npy or png.")] = None,
    dtype: Annotated[
        str | None, typer.Option("--dtype", help="uint8 (default), uint16 or float32; 1.0 becomes the type's maximum.")
    ] = None,
    ignore: Annotated[
        str | None,
        typer.Option(
            "--ignore",
            help="A mask; pixels where it is not 0 are left out. It takes the place of the masks of a project's own images.",
        ),
    ] = None,
    resample: Annotated[
        bool, typer.Option("--resample", help="Interpolate to the model's pixel size and back.")
    ] = False,
    axes: o.Axes = None,
    level: o.Level = None,
    pixel_size: o.PixelSize = None,
    block: Annotated[
        int | None, typer.Option("--block", help="Edge of a block in pixels; never changes a result.")
    ] = None,
    memory: Annotated[str | None, typer.Option("--memory", help="About what all threads may use, e.g. 2G.")] = None,
    dialect: Dialect = None,
    threads: o.Threads = None,
    overwrite: o.Overwrite = False,
) -> None:
    """Classify every pixel of images. An interrupted run is continued by the same command."""
    from brushwork.classifier import Classifier
    from brushwork.io import open_image
    from brushwork.jobs import Settings, asked, pixel_size_note, record, stamp
    from brushwork.jobs import predict as predict_image

    if dtype is not None and output in ("segmentation", "features"):
        stored = Settings(output).stored_dtype
        raise InputError(
            f"--dtype is for probabilities and uncertainty; {output} is always stored as {stored}, leave it out"
        )
    settings = Settings(output, dtype or "uint8", block, threads, parse_bytes(memory) if memory else None, resample)
    images = images or []
    _refuse_swapped(model, images)
    known = images_of(model) if every and is_project(model) else {}
    if every and not known:
        raise InputError(f"--all is for projects (NAME.brushwork); {model} is none")
    images = [resolved(uri) for uri in (*known, *o.expanded(images))]
    if not images:
        raise InputError("no image was given; name some, or give a project and --all")
    _refuse_missing(images)
    if is_project(model):
        before_computing()
        out = out or model.absolute().with_name(f"{model.stem}_results")
    if out is None:
        raise InputError("where to? give -o FOLDER, or -o FILE for one image")
    if is_ilp(model):
        classifier = model_of_ilp(model, dialect=dialect)
    else:
        classifier = model_of(model, task, threads) if is_project(model) else Classifier.load(model)
    targets = _targets(images, out, output, as_)
    mask_uri = resolved(ignore) if ignore else None
    masks = masks_of(model, images) if is_project(model) and mask_uri is None else {}
    left_out = {uri: f"all but {mask.uri} {stamp(mask.uri)}" for uri, mask in masks.items()}
    wanted = {
        uri: asked(
            classifier, settings, ignore=left_out.get(uri, mask_uri), axes=axes, level=level, pixel_size=pixel_size
        )
        for uri in images
    }
    finished = set() if overwrite else _finished(images, targets, classifier, settings, wanted)
    before_computing()
    told = False
    for uri, target in zip(images, targets):
        if target in finished:
            console.print(f"{target}  (done before)", highlight=False, soft_wrap=True)
            continue
        image = known.get(uri) or open_image(
            uri, axes=axes, level=o.level_of(level), pixel_size=o.pixel_size_of(pixel_size), like=classifier.axes
        )
        if not told and (note := pixel_size_note(classifier, image, resample=resample)):
            errors.print(note, style="dim", highlight=False, markup=False, soft_wrap=True)
            told = True
        mask: Image | None = masks.get(uri)
        if mask_uri is not None:
            mask = open_image(mask_uri, like=classifier.axes.replace("c", ""))
        began = time.perf_counter()
        with progress(Path(uri).name) as show:
            written = predict_image(
                classifier, image, target, **asdict(settings), ignore=mask, overwrite=overwrite, progress=show
            )
        seconds = time.perf_counter() - began
        entry = {
            "image": uri,
            "stamp": stamp(uri),
            "output": target.name,
            "kind": output,
            "model_hash": wanted[uri]["model_hash"],
        }
        opened = {"axes": axes or image.axes, "level": level, "pixel_size": image.pixel_size}
        record(target.parent, model, settings, entry | opened | {"seconds": round(seconds, 2), "asked": wanted[uri]})
        console.print(f"{written}  ({seconds:.2f} s)", highlight=False, soft_wrap=True)


def _finished(
    images: list[str],
    targets: list[Path],
    classifier: "Classifier",
    settings: "Settings",
    wanted: dict[str, dict[str, Any]],
) -> set[Path]:
    """The targets that this command wrote before; refuses, all at once, those that are there for another reason.

    wanted : what is asked of each image.
    """
    from brushwork.jobs import is_recorded, output_files

    files = {target: output_files(classifier, target, settings) for target in targets}
    finished = {t for t, uri in zip(targets, images) if is_recorded(t, files[t], uri, wanted[uri])}
    there = [str(f) for t in targets if t not in finished for f in files[t] if f.exists()]
    if there:
        names = ", ".join(there[:4]) + (f" and {len(there) - 4} more" if len(there) > 4 else "")
        verb, it = ("exists", "it") if len(there) == 1 else ("exist", "them")
        raise InputError(f"{names} {verb} already; choose another name or overwrite {it} (--overwrite)")
    return finished


def _refuse_swapped(model: Path, images: list[str]) -> None:
    """An image where the model belongs, and the model among the images, is told as that."""
    models = [uri for uri in images if uri.endswith(".bwm")]
    if models and model.suffix != ".bwm":
        raise InputError(
            f"{model} was given as the model and {models[0]} as an image; the model comes first: "
            f"brushwork predict {models[0]} {model}"
        )


def _refuse_missing(images: list[str]) -> None:
    """A file that is not there is told before the others are worked on."""
    missing = [
        uri
        for uri in images
        if "://" not in uri
        and not Path(uri).exists()
        and not any(p.is_file() or p.suffix == ".zarr" for p in Path(uri).parents)
    ]
    if len(missing) > 1 or (missing and len(images) > 1):
        names = ", ".join(missing[:4]) + (f" and {len(missing) - 4} more" if len(missing) > 4 else "")
        raise InputError(f"{len(missing)} of {len(images)} images are not there: {names}; nothing was done")


def resolved(uri: str) -> str:
    """An absolute path; addresses are left alone."""
    return uri if "://" in uri else str(Path(uri).expanduser().absolute())


def _targets(images: list[str], out: Path, output: str, as_: str | None) -> list[Path]:
    """Where each image's result goes; refuses names that would meet."""
    if as_ is not None and as_ not in SUFFIXES:
        raise unknown("format", as_, SUFFIXES)
    is_file = out.name.endswith((*SUFFIXES.values(), ".zarr", ".tiff", ".hdf5"))
    if is_file and len(images) == 1:
        if as_ is not None and not out.name.endswith(SUFFIXES[as_]):
            raise InputError(f"--as {as_} and the name {out.name} disagree; leave one out")
        return [out]
    if is_file or (out.exists() and not out.is_dir()):
        raise InputError(f"{len(images)} images need a folder for their results; {out} is not one")
    from brushwork.io.places import stem

    targets = [out / f"{stem(uri)}_{output}{SUFFIXES[as_ or 'ome-zarr']}" for uri in images]
    for i, target in enumerate(targets):
        if target in targets[:i]:
            raise InputError(
                f"{images[targets.index(target)]} and {images[i]} would both be written to {target}; predict them apart"
            )
    return targets


@app.command()
def convert(
    source: Annotated[list[str], typer.Argument(help="An image, or the planes of one; then the file to write.")],
    axes: o.Axes = None,
    level: o.Level = None,
    pixel_size: o.PixelSize = None,
    region: Annotated[
        str | None, typer.Option("--region", help="A part of it: START:STOP in pixels for (z,)y,x, e.g. 0:40,100:600,:")
    ] = None,
    overwrite: o.Overwrite = False,
) -> None:
    """Write an image in another format: .ome.zarr, .tif, .h5, .nii.gz, .npy or .png. The last name is the target."""
    from brushwork.image import cut_out
    from brushwork.io import open_image, write_image

    if len(source) < 2:
        raise InputError(
            "convert needs an image and the name of the file to write, e.g. brushwork convert a.tif a.ome.zarr"
        )
    *files, target = source
    uri: str | list[str] = files[0] if len(files) == 1 else files
    image = open_image(uri, axes=axes, level=o.level_of(level), pixel_size=o.pixel_size_of(pixel_size))
    if region is not None:
        image = cut_out(image, o.region_of(region, image.shape))
    with progress(Path(target).name) as show:
        write_image(image, Path(target), overwrite=overwrite, progress=show)
    console.print(f"{target}  {image.axes} {image.shape}", highlight=False, soft_wrap=True)
