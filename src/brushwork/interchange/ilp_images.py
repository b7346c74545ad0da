"""The images that an ilastik project links to: found again where they moved, checked, and opened with the project's axes."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, TypeVar

import h5py
import numpy as np
from numpy.typing import NDArray

from brushwork.blocks import Region
from brushwork.errors import InputError
from brushwork.image import AXES, SPATIAL, ArrayImage, Image, MaskView, part_of
from brushwork.interchange.guarded_hdf5 import COMPRESSION, SMALL, dataset, guarded
from brushwork.interchange.ilp import WANTED, IlpDataset, IlpLabels, IlpProject
from brushwork.io import open_image
from brushwork.io.hdf5 import Hdf5Array
from brushwork.io.places import split_inside
from brushwork.io.planes import matching
from brushwork.io.sources import Joined, Squeezed
from brushwork.labels import Labels, from_coords

MOST_LOOKED_AT = 100_000  # files below the folder that is searched
FOLDERS = (".zarr", ".n5")
T = TypeVar("T")


class AnotherImage(InputError):
    """What was opened is not the image that the project speaks of."""


@dataclass(frozen=True)
class Found:
    """Where an input is. uris : paths and patterns, empty for embedded data.

    how : "as stored", "moved" (beside the project, or in the folder that is searched), "embedded" or "url".
    """

    how: str
    uris: tuple[str, ...] = ()


def locate(project: IlpProject, data: IlpDataset, folder: str | Path | None = None) -> Found | None:
    """Where an input of a project is: as stored, else next to the project, else below `folder`; None where it is not found.

    The ends of the stored path are tried, longest first, then its name alone anywhere below `folder`. The first place counts
    that `open_dataset` takes, or the first of all where it takes none.
    """
    first: Found | None = None
    for found in _places(project, data, folder):
        first = first or found
        if found.how in ("embedded", "url"):
            return found
        with suppress(InputError):
            _opened(project, data, found)
            return found
    return first


def _places(project: IlpProject, data: IlpDataset, folder: str | Path | None) -> Iterator[Found]:
    if data.location == "embedded":
        yield Found("embedded")
        return
    if data.location == "url":
        yield Found("url", data.paths)
        return
    home = project.path.absolute().parent
    stored = tuple(_joined(home, path) for path in data.paths)
    if all(map(_exists, stored)):
        yield Found("as stored", stored)
    places = [home] if folder is None else [home, Path(folder)]
    ends = {path: _parts(path) for path in data.paths}
    seen = {stored}
    for place in places:
        for n in range(max(map(len, ends.values())), 0, -1):
            uris = tuple(str(place.joinpath(*parts[-n:])) for parts in ends.values())
            if uris not in seen and all(map(_exists, uris)):
                seen.add(uris)
                yield Found("moved", uris)
    if folder is not None and len(data.paths) == 1:
        file, inner = split_inside(data.paths[0])
        name = _pure(file).name
        for found in islice(Path(folder).rglob("*"), MOST_LOOKED_AT):
            uri = (_at(str(found), inner),)
            if found.name == name and uri not in seen and _exists(uri[0]):
                yield Found("moved", uri)


def _at(file: str, inner: str) -> str:
    return f"{file}/{inner}" if inner else file


def _pure(path: str) -> PurePosixPath | PureWindowsPath:
    is_windows = re.match(r"[A-Za-z]:", path) or ("\\" in path and "/" not in path)
    return PureWindowsPath(path) if is_windows else PurePosixPath(path)


def _parts(path: str) -> tuple[str, ...]:
    """The names in a path, without its anchor and dots; what goes on inside a file stays with the file's name."""
    file, inner = split_inside(path)
    pure = _pure(file)
    parts = [part for part in pure.parts if part not in (pure.anchor, ".", "..")]
    return (*parts[:-1], _at(parts[-1], inner)) if parts else (path,)


def _joined(home: Path, path: str) -> str:
    file, inner = split_inside(path)
    pure = _pure(file)
    return _at(str(Path(file) if pure.is_absolute() else home.joinpath(*pure.parts)), inner)


def _exists(uri: str) -> bool:
    """Whether there are files, or folders that hold an image: devices and pipes have no end."""
    try:
        path = Path(split_inside(uri)[0])
        if _is_stored(path):
            return True
        found = list(path.parent.glob(path.name)) if re.search(r"[*?\[]", path.name) else []
        return bool(found) and all(map(_is_stored, found))
    except (OSError, ValueError):
        return False


def _is_stored(path: Path) -> bool:
    return path.is_file() or (path.is_dir() and any(p.suffix.lower() in FOLDERS for p in (path, *path.parents)))


def open_dataset(project: IlpProject, data: IlpDataset, folder: str | Path | None = None) -> ArrayImage:
    """Open an input of a project as ilastik saw it; nothing is read before it is sliced.

    folder : searched as well where the file is no longer at its stored place.

    Raises
    ------
    InputError
        where it is not found, or what is found has not the shape that the project says, or else its forest and labels tell.
    """

    def not_found() -> ArrayImage:
        looked = f"next to the project{'' if folder is None else f' and below {Path(folder).absolute()}'}"
        raise InputError(
            f"{data.paths[0]}, which {project.path} links to, was not found, nor {looked}; say in which folder the data are"
        )

    tries: Iterable[Callable[[], ArrayImage]] = (
        partial(_opened, project, data, found) for found in _places(project, data, folder)
    )
    return first_taken(chain(tries, [not_found]))


def is_one_file(data: IlpDataset) -> bool:
    """Whether a path leads to it and to nothing else: it is no part of a file, no stack, and not inside the project."""
    return data.location != "embedded" and data.part is None and not _is_stack(data)


def doubt(data: IlpDataset, uri: str) -> str:
    """What someone has to check who finds an image at `uri`, as the project does not tell its size; "" where it does."""
    if data.location == "embedded" or (data.shape is not None and data.part is None):
        return ""
    return f"nothing in the project tells the size of {uri}; check that it is the same image"


def _is_stack(data: IlpDataset) -> bool:
    return len(data.paths) > 1 or re.search(r"[*?\[]", data.paths[0]) is not None


def first_taken(tries: Iterable[Callable[[], T]]) -> T:
    """What the first of `tries` gives that is not refused.

    Raises InputError where all are: the first refusal, one that has seen another image before those that could not open any.
    """
    refusals = []
    for attempt in tries:
        try:
            return attempt()
        except InputError as error:
            refusals.append(error)
    raise next((error for error in refusals if isinstance(error, AnotherImage)), refusals[0])


def _opened(project: IlpProject, data: IlpDataset, found: Found) -> ArrayImage:
    if found.how == "embedded":
        return _as_noted(data, _embedded(project, data))
    uris = found.uris if found.how == "url" else [path for uri in found.uris for path in matching(uri)]

    def checked(open_file: Callable[[], ArrayImage]) -> ArrayImage:
        opened = open_file()
        image = _as_noted(data, opened)
        if data.shape is None:
            _refuse_other(project, data, opened.axes, image)
        return image

    return first_taken(partial(checked, way) for way in _ways(data, uris))


def _ways(data: IlpDataset, uris: Sequence[str]) -> Iterator[Callable[[], ArrayImage]]:
    """Ways to open files: with ilastik's axes; without channel or depth, which it adds; as they say; joined along an axis."""
    orders: list[str | None] = [data.axes or None]
    for extra in ("c", "z", "t", "zc", "tc", "tz", "tzc"):
        left = "".join(a for a in data.axes if a not in extra)
        if all(a in data.axes and data.length(a) in (1, None) for a in extra):
            orders.append(left)
    if _is_stack(data):  # files of a stack come first, wherever ilastik put them
        orders += [a + data.axes.replace(a, "") for a in "tzc" if a in data.axes]
    for axes in dict.fromkeys([*orders, None]):
        yield partial(open_image, uris[0] if len(uris) == 1 else uris, axes=axes, level=data.level or None)
    if len(uris) > 1:
        yield from (partial(open_joined, uris, data.axes, along) for along in "tzc" if along in data.axes)


def open_joined(uris: Sequence[str], axes: str, along: str) -> ArrayImage:
    """Arrays with the same axes, one behind the other along one of them. Raises InputError where that cannot be."""
    spare = next((a for a in AXES if a not in axes), None)
    if along not in axes or spare is None:
        raise InputError(f"{uris[0]} and others have the axes {axes!r} and cannot be joined along {along!r}")
    stack = open_image(uris, axes=spare + axes)
    sizes = stack.pixel_size if spare not in SPATIAL else None
    return ArrayImage(Joined(stack.source, axes.index(along)), axes, stack.uri, pixel_size=sizes)


def without_depth(image: ArrayImage) -> ArrayImage:
    """An image of one section in 2D, as ilastik takes it."""
    if "z" not in image.axes or image.shape[0] > 1:
        return image
    source = Squeezed(image.source, image.axes.index("z"))
    sizes = image.pixel_size[1:] if image.pixel_size else None
    return ArrayImage(source, image.axes.replace("z", ""), image.uri, image.channel_names, sizes)


def _as_noted(data: IlpDataset, opened: ArrayImage) -> ArrayImage:
    """What a project uses of a file, without a depth of one section. Raises AnotherImage where it has not the noted shape."""
    image = without_depth(_part_noted(data, opened))
    lengths = dict(zip(image.axes, image.source.shape))
    if any(data.length(a) not in (None, lengths.get(a, 1)) for a in AXES):
        stored = " x ".join(str(data.length(a)) for a in data.axes)
        raise _another(opened, data, f"is {stored} ({data.axes})")
    known = dict(data.pixel_size)
    if image.pixel_size is None and all(a in known for a in image.spatial_axes):
        image = replace(image, pixel_size=tuple(known[a] for a in image.spatial_axes))
    return image


def _part_noted(data: IlpDataset, opened: ArrayImage) -> ArrayImage:
    if data.part is None:
        return opened
    box = dict(zip(data.axes, zip(*data.part)))
    lengths = dict(zip(opened.axes, opened.source.shape))
    if any(stop > lengths.get(a, 1) for a, (_, stop) in box.items()):
        spans = ", ".join(f"{a} = {start} to {stop - 1}" for a, (start, stop) in box.items())
        raise _another(opened, data, f"has {spans}")
    return part_of(opened, box)


def _another(image: ArrayImage, data: IlpDataset, what: str) -> AnotherImage:
    return AnotherImage(
        f"{image.uri} is {' x '.join(str(n) for n in image.source.shape)} ({image.axes}), the project's "
        f"{data.nickname or data.paths[0]} {what}: it is another image, on which labels would be wrong"
    )


def _refuse_other(project: IlpProject, data: IlpDataset, axes: str, image: ArrayImage) -> None:
    """Raise InputError where an image cannot be the one of which no shape is stored.

    axes : of the file; frames and sections are in it where ilastik saw any. The first forest tells how many channels there
    were, painted pixels how large it is at least.
    """
    reasons = []
    if missing := [a for a in data.axes if a in "tz" and a not in axes]:
        reasons.append(f"has the axes {data.axes!r}, without {missing[0]!r} here")
    counts = _channels(project, data)
    if counts and counts.get(len(image.shape)) != image.n_channels:
        expected = " or ".join(f"{n} channel(s) in {ndim}D" for ndim, n in counts.items())
        reasons.append(f"has {expected}, as its forest tells, not {image.n_channels} in {len(image.shape)}D")
    lengths = dict(zip(image.axes, image.source.shape))
    for axis, reached in _reach(project, data).items():
        if reached > lengths.get(axis, 1):
            reasons.append(f"is painted on up to {axis} = {reached - 1}, with {lengths.get(axis, 1)} here")
    if reasons:
        raise _another(image, data, reasons[0])


def _channels(project: IlpProject, data: IlpDataset) -> dict[int, int]:
    """Channels by number of spatial axes, of the images that the first forest was grown on; empty where nothing tells."""
    if any(lane.mask is data for lane in project.lanes):
        return {}
    stage = next(iter(project.stages), None)
    if stage is None or stage.features is None or stage.classifier.forest is None or not stage.features.n_chosen:
        return {}
    n_maps = stage.classifier.forest.n_maps
    flat = bool(data.axes) and "z" not in data.axes
    per_channel = {ndim: stage.features.n_maps(ndim) for ndim in ((2,) if flat else (2, 3))}
    return {ndim: n_maps // n for ndim, n in per_channel.items() if n_maps % n == 0}


def _reach(project: IlpProject, data: IlpDataset) -> dict[str, int]:
    """How many pixels an image has at least, by axis letter, for what is painted on it."""
    found: dict[str, int] = {}
    for stage in project.stages:
        for lane, labels in zip(project.lanes, stage.labels):
            if lane.raw is data and len(labels):
                for axis, last in zip(labels.axes, labels.coords.max(axis=0).tolist()):
                    found[axis] = max(found.get(axis, 0), last + 1)
    return found


class _Stored(Hdf5Array):
    """Data inside a project file, which stays open as long as they are used."""

    def __init__(self, stored: Any, path: Path, file: Any) -> None:
        super().__init__(stored, path)
        self._file = file


def _embedded(project: IlpProject, data: IlpDataset) -> ArrayImage:
    with guarded(project.path, WANTED) as file:
        stored = dataset(file, f"Input Data/local_data/{data.key}")
        if stored is None:
            raise InputError(
                f"{project.path} holds no data of {data.nickname!r} ({data.key}); they were taken out of it"
            )
        where, n_axes = stored.name, stored.ndim
        if stored.size * stored.dtype.itemsize > SMALL + COMPRESSION * stored.id.get_storage_size():
            raise InputError(
                f"{project.path} claims more data of {data.nickname!r} than it stores; get an undamaged copy"
            )
        if stored.dtype.kind not in "biuf" or n_axes != len(data.axes):
            raise InputError(
                f"{project.path} holds {data.nickname!r} as {stored.dtype} with {n_axes} axes, not {data.axes!r}"
            )
    again = h5py.File(project.path, "r")
    return ArrayImage(_Stored(again[where], project.path, again), data.axes, f"{project.path}{where}")


# ---------------------------------------------------------------- labels and masks on opened images


def labels_on(image: Image, found: IlpLabels) -> Labels:
    """A lane's painted pixels as labels of its image; strokes are connected pixels of one class.

    Raises InputError where they do not lie in the image.
    """
    spatial = SPATIAL[-len(image.shape) :]
    wanted = ("t" if "t" in image.axes else "") + spatial
    lengths = {"t": image.n_frames, **dict(zip(spatial, image.shape))}
    n = len(found)
    columns = {a: found.coords[:, i] for i, a in enumerate(found.axes)}
    for axis in found.axes:
        if n and columns[axis].max() >= lengths.get(axis, 1):
            raise InputError(
                f"the labels reach {axis} = {int(columns[axis].max())}, {image.uri or 'the image'} is {image.shape} with "
                f"{image.n_frames} frame(s): it is another image, on which labels would be wrong"
            )
    coords = np.stack([columns.get(a, np.zeros(n, np.int64)) for a in wanted], axis=1)
    return from_coords(coords, found.classes, image.shape)


@dataclass(frozen=True, eq=False)
class LeftOut(MaskView):
    """A prediction mask turned round: 1 where every channel of the mask is 0, which ilastik does not predict."""

    image: ArrayImage

    @property
    def channel_names(self) -> tuple[str, ...]:
        return ("left out",)

    def read(self, region: Region) -> NDArray[np.float32]:
        """(1, *spatial) float32."""
        kept = self.image.stored(region).astype(bool).any(axis=0, keepdims=True)
        return np.where(kept, np.float32(0), np.float32(1))
