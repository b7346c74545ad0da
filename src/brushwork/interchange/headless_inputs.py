"""The inputs of ilastik's headless mode: its ways to name files, its axes, its masks."""

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brushwork.errors import InputError
from brushwork.image import ArrayImage
from brushwork.interchange.ilp import IlpProject
from brushwork.io import image_levels, open_image
from brushwork.io.sources import Squeezed

MOST_AXES = "tzyxc"  # of files with five axes that do not say which


@dataclass(frozen=True, eq=False)
class Input:
    """An image to work on, and where it is from.

    image : as it is computed, without an axis z of length 1. axes : as ilastik has them, with c. mask : 0 in all its channels
    where nothing is predicted. files : what was opened. nickname, folder : what the placeholders stand for.
    """

    image: ArrayImage
    axes: str
    nickname: str
    folder: Path
    files: tuple[str, ...] = ()
    mask: ArrayImage | None = None


@dataclass(frozen=True)
class Reading:
    """How inputs are opened. axes : of raw data and of masks, "" where they are not told.

    own_axes : files say what their axes are; otherwise they are those of the training data. stack_along : axis over the files
    of a stack.
    """

    axes: tuple[str, str] = ("", "")
    own_axes: bool = False
    stack_along: str = "z"


DEFAULT_READING = Reading()


def open_input(project: IlpProject, raw: str, mask: str | None = None, reading: Reading = DEFAULT_READING) -> Input:
    """Open an image, and its prediction mask, without reading pixels.

    raw, mask : a file, a path inside one, several files joined by the system's separator of paths, or a pattern with "*".
    Raises InputError where they cannot be opened with those axes, or do not fit each other.
    """
    lane = project.lanes[-1] if project.lanes and not reading.own_axes else None
    trained = tuple(data.axes if data is not None else "" for data in (lane.raw, lane.mask)) if lane else ("", "")
    files = files_of(raw)
    image, axes = _opened(raw, files, reading.axes[0] or trained[0], reading.stack_along)
    opened = None
    if mask is not None:
        opened, _ = _opened(
            mask, files_of(mask), reading.axes[1] or trained[1], reading.stack_along, axes.replace("c", "")
        )
        if (opened.shape, opened.n_frames) != (image.shape, image.n_frames):
            raise InputError(
                f"the prediction mask {mask} is {opened.shape} with {opened.n_frames} frame(s), the image {raw} {image.shape} "
                f"with {image.n_frames}; they have to be of one size"
            )
    folder = (project.path if "://" in raw else Path(_split(files[0])[0])).absolute().parent
    return Input(image, axes if "c" in axes else axes + "c", nickname(files), folder, files, opened)


def files_of(uri: str) -> tuple[str, ...]:
    """The files that an argument names, those of a pattern in the order of their names as text."""
    if "://" in uri:
        return (uri,)
    found: list[str] = []
    for part in uri.split(os.pathsep):
        part = os.path.expanduser(part)
        matches = sorted(glob.glob(part)) if "*" in part else [part]
        if not matches:
            raise InputError(f"no file matches {part!r} in {Path.cwd()}")
        found += matches
    return tuple(found)


def _split(uri: str) -> tuple[str, str]:
    """The file, and the path inside it ("" or "data/raw"); of an address without its scheme."""
    uri = uri.partition("://")[2] or uri
    for parent in (Path(uri), *Path(uri).parents):
        if parent.suffix.lower() in (".h5", ".hdf5", ".hdf", ".ilp", ".npz", ".n5", ".zarr"):
            return str(parent), uri[len(str(parent)) :].replace("\\", "/").strip("/")
    return uri, ""


def nickname(files: Sequence[str]) -> str:
    """What ilastik calls an input: the stem its files share, and the path inside them.

    >>> nickname(["/d/cells.png"]), nickname(["/d/cells.h5/volume/data"]), nickname(["s_01.tif", "s_02.tif"])
    ('cells', 'cells-volume-data', 's_0')
    """
    parts = [_split(file) for file in files]
    stem = os.path.commonprefix([Path(file).stem for file, _ in parts]) or f"stack_at-{Path(parts[0][0]).name}"
    inside = os.path.commonprefix([inner for _, inner in parts])
    return stem.replace("*", "") + ("-" + inside.replace("/", "-") if inside else "")


def _opened(uri: str, files: tuple[str, ...], axes: str, along: str, like: str = "") -> tuple[ArrayImage, str]:
    """The image and its axes, those that are told where they are. like : axes of a file that does not say its own."""
    one: Any = files[0] if len(files) == 1 else list(files)
    if not axes and len(files) > 1:
        _, inner_axes = _opened(files[0], files[:1], "", along)
        axes = along + inner_axes
    if axes:
        return _without_depth(_open_as(one, axes)), axes
    image = _own(one, like)
    return _without_depth(image), image.axes


def _open_as(uri: Any, axes: str) -> ArrayImage:
    """With those axes; a channel that is only told, not stored, is one channel."""
    refused: InputError | None = None
    for letters in dict.fromkeys((axes, axes.replace("c", ""))):
        try:
            return open_image(uri, axes=letters)
        except InputError as error:
            refused = refused or error
    for file in uri if isinstance(uri, list) else [uri]:
        image_levels(file)  # raises where it is not the axes that are wrong
    raise InputError(
        f"{refused} (its axes were taken to be {axes}, by --input_axes or the training data; --ignore_training_axistags stops that)"
    )


def _own(uri: Any, like: str) -> ArrayImage:
    """With the axes that the file says, or those it most likely has."""
    try:
        return open_image(uri, like=like or MOST_AXES)
    except InputError:
        shape = image_levels(uri)[0][1]
        few = shape[-1] <= 4
        guesses = {2: "yx", 3: "yxc" if few else "zyx", 4: "zyxc" if few else "tzyx"}
        if len(shape) not in guesses:
            raise
        return open_image(uri, axes=guesses[len(shape)])


def _without_depth(image: ArrayImage) -> ArrayImage:
    """An image of one section is computed in 2D."""
    if "z" not in image.axes or image.shape[0] > 1:
        return image
    source = Squeezed(image.source, image.axes.index("z"))
    sizes = image.pixel_size[1:] if image.pixel_size else None
    return ArrayImage(source, image.axes.replace("z", ""), image.uri, image.channel_names, sizes)
