"""The images that an ilastik project links to: found again where they moved, checked, and opened with the project's axes."""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from brushwork.blocks import Region
from brushwork.errors import InputError
from brushwork.image import SPATIAL, ArrayImage, Image
from brushwork.interchange.guarded_hdf5 import COMPRESSION, SMALL, dataset, guarded
from brushwork.interchange.ilp import WANTED, IlpDataset, IlpLabels, IlpProject
from brushwork.io import open_image
from brushwork.io.hdf5 import Hdf5Array
from brushwork.io.sources import Squeezed
from brushwork.labels import Labels, from_coords

INSIDE = re.compile(r"^(.+?\.(?:h5|hdf5|hdf|ilp|npz|zarr))((?:[/\\].*)?)$", re.IGNORECASE)
MOST_LOOKED_AT = 100_000  # files below the folder that is searched
FOLDERS = (".zarr", ".n5")
HOW = ("as stored", "moved", "embedded", "url")


@dataclass(frozen=True)
class Found:
    """Where an input is. how : one of HOW. uris : what `open_image` takes, empty for embedded data."""

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
        file, inner = _inside(data.paths[0])
        name = _pure(file).name
        for found in islice(Path(folder).rglob("*"), MOST_LOOKED_AT):
            uri = (str(found) + inner,)
            if found.name == name and uri not in seen and _exists(uri[0]):
                yield Found("moved", uri)


def _inside(path: str) -> tuple[str, str]:
    """The file, and how the path goes on inside it ("" or "/name")."""
    found = INSIDE.match(path)
    return (found[1], found[2].replace("\\", "/")) if found else (path, "")


def _pure(path: str) -> PurePosixPath | PureWindowsPath:
    is_windows = re.match(r"[A-Za-z]:", path) or ("\\" in path and "/" not in path)
    return PureWindowsPath(path) if is_windows else PurePosixPath(path)


def _parts(path: str) -> tuple[str, ...]:
    """The names in a path, without its anchor and dots; what goes on inside a file stays with the file's name."""
    file, inner = _inside(path)
    pure = _pure(file)
    parts = [part for part in pure.parts if part not in (pure.anchor, ".", "..")]
    return (*parts[:-1], parts[-1] + inner) if parts else (path,)


def _joined(home: Path, path: str) -> str:
    file, inner = _inside(path)
    pure = _pure(file)
    return str(Path(file) if pure.is_absolute() else home.joinpath(*pure.parts)) + inner


def _exists(uri: str) -> bool:
    """Whether there are files, or folders that hold an image: devices and pipes have no end."""
    try:
        path = Path(_inside(uri)[0])
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
    if data.part is not None:
        raise InputError(
            f"{project.path} uses a part of {data.nickname or data.paths[0]}, from {data.part[0]} to {data.part[1]}; "
            "cut that part out of the image, and give it instead"
        )
    refused: InputError | None = None
    for found in _places(project, data, folder):
        try:
            return _opened(project, data, found)
        except InputError as error:
            refused = refused or error
    if refused is not None:
        raise refused
    looked = f"next to the project{'' if folder is None else f' and below {Path(folder).absolute()}'}"
    raise InputError(
        f"{data.paths[0]}, which {project.path} links to, was not found, nor {looked}; say in which folder the data are"
    )


def _opened(project: IlpProject, data: IlpDataset, found: Found) -> ArrayImage:
    if found.how == "embedded":
        return matching(_embedded(project, data), data)
    uri = found.uris[0] if len(found.uris) == 1 else list(found.uris)
    unread: InputError | None = None
    other: InputError | None = None
    for axes in _orders(data):
        try:
            opened = open_image(uri, axes=axes, level=data.level or None)
        except InputError as error:
            unread = unread or error
            continue
        try:
            image = matching(opened, data)
            if data.shape is None:
                _refuse_other(project, data, opened.axes, image)
            return image
        except InputError as error:
            other = other or error
    refused = other or unread
    assert refused is not None
    raise refused


def _orders(data: IlpDataset) -> list[str | None]:
    """Axes to open a file with: ilastik's; those without channel or depth, which ilastik adds; the file's own."""
    orders: list[str | None] = [data.axes or None]
    for extra in ("c", "z", "t", "zc", "tc", "tz", "tzc"):
        left = "".join(a for a in data.axes if a not in extra)
        if all(a in data.axes and data.length(a) in (1, None) for a in extra):
            orders.append(left)
    if len(data.paths) > 1 or re.search(
        r"[*?\[]", data.paths[0]
    ):  # files of a stack come first, wherever ilastik put them
        orders += [a + data.axes.replace(a, "") for a in "tzc" if a in data.axes]
    return list(dict.fromkeys([*orders, None]))


def matching(image: ArrayImage, data: IlpDataset) -> ArrayImage:
    """`image` without a depth of one section, which ilastik takes for 2D.

    Raises InputError where its shape is not the stored one.
    """
    if "z" in image.axes and image.shape[0] == 1:
        source = Squeezed(image.source, image.axes.index("z"))
        sizes = image.pixel_size[1:] if image.pixel_size else None
        image = ArrayImage(source, image.axes.replace("z", ""), image.uri, image.channel_names, sizes)
    lengths = dict(zip(image.axes, image.source.shape))
    differing = [a for a in "tczyx" if data.length(a) not in (None, lengths.get(a, 1))]
    if differing:
        stored = " x ".join(str(n) for n in data.shape or ())
        raise InputError(
            f"{image.uri} is {' x '.join(str(n) for n in image.source.shape)} ({image.axes}), the project's "
            f"{data.nickname or data.paths[0]} is {stored} ({data.axes}): it is another image, on which labels would be wrong"
        )
    known = dict(data.pixel_size)
    if image.pixel_size is None and all(a in known for a in image.spatial_axes):
        image = replace(image, pixel_size=tuple(known[a] for a in image.spatial_axes))
    return image


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
        raise InputError(
            f"{image.uri} is {' x '.join(str(n) for n in image.source.shape)} ({image.axes}), the project's "
            f"{data.nickname or data.paths[0]} {reasons[0]}: it is another image, on which labels would be wrong"
        )


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
class LeftOut:
    """A prediction mask turned round, an Image: 1 where every channel of the mask is 0, which ilastik does not predict."""

    mask: ArrayImage = field(repr=False)
    channel_names: tuple[str, ...] = ("left out",)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.mask.shape

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.uint8)

    @property
    def axes(self) -> str:
        return self.mask.axes.replace("c", "")

    @property
    def n_frames(self) -> int:
        return self.mask.n_frames

    @property
    def pixel_size(self) -> tuple[float, ...] | None:
        return self.mask.pixel_size

    @property
    def uri(self) -> str:
        return self.mask.uri

    def read(self, region: Region) -> NDArray[np.float32]:
        """(1, *spatial) float32."""
        kept = self.mask.stored(region).astype(bool).any(axis=0, keepdims=True)
        return np.where(kept, np.float32(0), np.float32(1))
