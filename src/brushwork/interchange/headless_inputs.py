"""The inputs of ilastik's headless mode: its ways to name files, its axes, its masks."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from brushwork.errors import InputError
from brushwork.image import ArrayImage
from brushwork.interchange.ilp import IlpProject
from brushwork.interchange.ilp_images import first_taken, open_joined, without_depth
from brushwork.io import image_levels, open_image
from brushwork.io.places import split_inside
from brushwork.io.planes import matching

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
    folder = (project.path if "://" in raw else Path(split_inside(files[0])[0])).absolute().parent
    return Input(image, axes if "c" in axes else axes + "c", nickname(files), folder, files, opened)


def files_of(uri: str) -> tuple[str, ...]:
    """The files, or arrays inside files, that an argument names; those of a pattern in the order of their names as text."""
    if "://" in uri or os.path.exists(uri):
        return (uri,)
    parts = [os.path.expanduser(part) for part in uri.split(os.pathsep)]
    return tuple(path for part in parts for path in (matching(part) if "*" in part else [part]))


def nickname(files: Sequence[str]) -> str:
    """What ilastik calls an input: the stem its files share, and the path inside them.

    >>> nickname(["/d/cells.png"]), nickname(["/d/cells.h5/volume/data"]), nickname(["s_01.tif", "s_02.tif"])
    ('cells', 'cells-volume-data', 's_0')
    """
    parts = [split_inside(file.partition("://")[2] or file) for file in files]
    stem = os.path.commonprefix([Path(file).stem for file, _ in parts]) or f"stack_at-{Path(parts[0][0]).name}"
    inside = os.path.commonprefix([inner for _, inner in parts])
    return stem.replace("*", "") + ("-" + inside.replace("/", "-") if inside else "")


def _opened(uri: str, files: tuple[str, ...], axes: str, along: str, like: str = "") -> tuple[ArrayImage, str]:
    """The image and its axes, those that are told where they are. like : axes of a file that does not say its own."""
    if not axes and len(files) == 1:
        image = without_depth(_own(files[0], like))
        return image, image.axes
    if not axes:
        inner = _own(files[0], "").axes
        axes = inner if along in inner else along + inner
    return without_depth(_open_as(files, axes, along)), axes


def _open_as(files: tuple[str, ...], axes: str, along: str) -> ArrayImage:
    """With those axes; a channel that is only told, not stored, is one channel.

    The files of a stack are joined along an axis that each of them has.
    """
    orders = dict.fromkeys((axes, axes.replace("c", "")))
    tries = [partial(open_image, files[0] if len(files) == 1 else files, axes=order) for order in orders]
    if len(files) > 1:
        tries += [partial(open_joined, files, order, along) for order in orders]
    try:
        return first_taken(tries)
    except InputError as refused:
        for file in files:
            image_levels(file)  # raises where it is not the axes that are wrong
        raise InputError(
            f"{refused} (its axes were taken to be {axes}, by --input_axes or the training data; "
            "--ignore_training_axistags stops that)"
        ) from refused


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
