"""Projects to pass on: the images as crops around the strokes or as whole copies, and all of it in one zip.

A crop is made of the cells (priors.CELL_EDGE pixels wide) in which something is painted, joined where they touch, and the halo that
features need, so a crop's feature rows are those of the whole image.
"""

import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from brushwork.blocks import Region
from brushwork.composition import Compositions
from brushwork.document import Document, ImageEntry, Task
from brushwork.errors import InputError
from brushwork.features import FeatureSet
from brushwork.image import ArrayImage, Image
from brushwork.io import open_image, write_image
from brushwork.io.aside import refuse_existing, told, written_aside
from brushwork.io.places import copied, is_remote, noted
from brushwork.priors import CELL_EDGE
from brushwork.project_folder import IMAGES, MODELS
from brushwork.project_images import MASK, UNSEEN, Shelf, entry_of, mask_id
from brushwork.strokes import Stroke


def zipped(out: Path, name: str, fill: Callable[[Path], None]) -> Path:
    """Write a zip with one folder `name`, which `fill` makes. Raises InputError where `out` exists."""
    refuse_existing(out, overwrite=False)
    with told(out), TemporaryDirectory(dir=out.absolute().parent, prefix=f".{out.name}.") as temporary:
        folder = Path(temporary) / name
        fill(folder)
        with written_aside(out) as aside, zipfile.ZipFile(aside, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
            for path in sorted(folder.rglob("*")):
                file.write(path, path.relative_to(temporary))
    return out


def whole_copies(document: Document, shelf: Shelf, compositions: Compositions, folder: Path) -> Document:
    """The document with copies of its images in `folder`; addresses stay as they are."""
    images = tuple(_whole_copy(entry, shelf, folder) for entry in document.images)
    _copy_models(document, shelf.folder, folder)
    return replace(document, images=images)


def _whole_copy(entry: ImageEntry, shelf: Shelf, folder: Path) -> ImageEntry:
    shelf.image(entry)  # what is missing or was replaced says so
    place = shelf.place(entry)
    uri = place if is_remote(place) else copied(place, folder / IMAGES)
    mask = _whole_copy(entry.mask, shelf, folder) if entry.mask is not None else None
    return replace(entry, path=noted(uri, folder), mask=mask)


def _copy_models(document: Document, from_folder: Path, folder: Path) -> None:
    for model in (m for task in document.tasks for m in task.models):
        if (from_folder / model.file).is_file():
            (folder / MODELS).mkdir(exist_ok=True)
            shutil.copyfile(from_folder / model.file, folder / model.file)


# ---------------------------------------------------------------- crops


@dataclass(frozen=True, eq=False)
class Crop:
    """A box of an image that is packed. cells : (n, 1 + ndim) int64, the frame and the cell numbers that it answers for."""

    entry: ImageEntry
    region: Region
    cells: NDArray[np.int64]


def crops_of(document: Document, shelf: Shelf, compositions: Compositions, folder: Path) -> Document:
    """The document with crops in the place of its images, written to `folder`; strokes are cut and numbered anew.

    Raises InputError where nothing is painted, ImageMissing or ImageReplaced where an image is not there.
    """
    made: dict[str, list[tuple[Crop, ImageEntry]]] = {}
    for entry in document.images:
        cells = _painted_cells(document, entry, compositions)
        if len(cells):
            image = shelf.image(entry)
            halo = _halo(document, image)
            made[entry.id] = [
                (crop, _cropped(crop, shelf, folder, i)) for i, crop in enumerate(_crops(entry, cells, halo), start=1)
            ]
    if not made:
        raise InputError("nothing is painted, so there is no crop to pack; paint first, or pack whole images (full)")
    _copy_models(document, shelf.folder, folder)
    return _cut(document, made)


def _painted_cells(document: Document, entry: ImageEntry, compositions: Compositions) -> NDArray[np.int64]:
    """(n, 1 + ndim): frame and cell of all painted pixels of all tasks."""
    parts = [np.zeros((0, 1 + len(entry.shape)), np.int64)]
    for task in document.tasks:
        for check in (False, True):
            labels = compositions.labels(document, task, entry.id, check=check)
            parts.append(_cells_of(labels.coords, entry))
    return np.unique(np.concatenate(parts), axis=0)


def _cells_of(coords: NDArray[np.int64], entry: ImageEntry) -> NDArray[np.int64]:
    """(n, 1 + ndim): frame and cell of each coordinate."""
    ndim = len(entry.shape)
    frames = coords[:, :1] if coords.shape[1] > ndim else np.zeros((len(coords), 1), np.int64)
    return np.hstack([frames, coords[:, -ndim:] // CELL_EDGE[ndim]])


def _halo(document: Document, image: Image) -> tuple[int, ...]:
    """The largest halo of all tasks' features."""
    halos = [
        FeatureSet.parse(task.features).resolved(image, channels=task.channels).halo(image) for task in document.tasks
    ]
    return tuple(max(sides) for sides in zip(*halos))


def _crops(entry: ImageEntry, cells: NDArray[np.int64], halo: tuple[int, ...]) -> Iterator[Crop]:
    """One crop per group of cells that touch each other in one frame."""
    from scipy.ndimage import label

    edge, ndim = CELL_EDGE[len(entry.shape)], len(entry.shape)
    for t in np.unique(cells[:, 0]).tolist():
        mine = cells[cells[:, 0] == t]
        low = mine[:, 1:].min(0)
        is_painted = np.zeros(mine[:, 1:].max(0) - low + 1, bool)
        is_painted[tuple((mine[:, 1:] - low).T)] = True
        groups, n = label(is_painted, np.ones((3,) * ndim))
        group = groups[tuple((mine[:, 1:] - low).T)]
        for k in range(1, n + 1):
            chosen = mine[group == k]
            start, stop = chosen[:, 1:].min(0) * edge, (chosen[:, 1:].max(0) + 1) * edge
            box = Region(tuple(start.tolist()), tuple(stop.tolist()), t).grown(halo).clipped(entry.shape)
            yield Crop(entry, box, chosen)


class _Window:
    """The pixels of a box as an array with the axes (c, *spatial), read when they are sliced."""

    def __init__(self, image: Image, region: Region) -> None:
        self._image, self._region = image, region
        self.shape = (len(image.channel_names), *region.shape)
        self.dtype = image.dtype

    def __getitem__(self, key: tuple[slice, ...]) -> NDArray:
        channels, *spatial = key
        origin = self._region.start
        start = tuple(o + (s.start or 0) for o, s in zip(origin, spatial))
        stop = tuple(o + (n if s.stop is None else s.stop) for o, n, s in zip(origin, self._region.shape, spatial))
        box = Region(start, stop, self._region.t)
        pixels = self._image.stored(box) if isinstance(self._image, ArrayImage) else self._image.read(box)
        return pixels[channels]


def _cropped(crop: Crop, shelf: Shelf, folder: Path, number: int) -> ImageEntry:
    """Write a crop, and that of its mask, into `folder`; returns its entry."""
    made = replace(_written(crop.entry, crop.region, shelf, folder, number), nickname=crop.entry.nickname)
    if crop.entry.mask is None:
        return made
    mask = _written(crop.entry.mask, crop.region, shelf, folder, number)
    return replace(made, mask=replace(mask, id=mask_id(made)))


def _written(entry: ImageEntry, region: Region, shelf: Shelf, folder: Path, number: int) -> ImageEntry:
    """Write a box of an image or a mask as an OME-Zarr; returns its entry."""
    image = shelf.image(entry)
    axes = "c" + "zyx"[-len(entry.shape) :]
    window = ArrayImage(_Window(image, region), axes, image.uri, image.channel_names, image.pixel_size)
    stem = Path(entry.path).name.partition(".")[0] or "image"
    name = entry.id if entry.id.startswith((MASK, UNSEEN)) else entry.id[:6]
    path = folder / IMAGES / f"{stem}_{name}_{number}.ome.zarr"
    path.parent.mkdir(exist_ok=True)
    write_image(window, path)
    options = {"axes": None, "level": 0, "pixel_size": list(image.pixel_size) if image.pixel_size else None}
    offset = [region.t, *region.start] if entry.n_frames > 1 else list(region.start)
    stored = open_image(path, **options)  # type: ignore[arg-type]
    part_of = {"image": entry.id, "offset": offset, "path": entry.path}
    return replace(entry_of(stored, noted(str(path), folder), options), part_of=part_of)


def _cut(document: Document, made: dict[str, list[tuple[Crop, ImageEntry]]]) -> Document:
    """The document on crops: every stroke is cut to the crops it lies in, each pixel into one; undone strokes are left out."""
    images = _with_ids_apart([entry for crops in made.values() for _, entry in crops])
    crops = {image: [crop for crop, _ in found] for image, found in made.items()}
    ids = iter(images)
    entries = {image: [next(ids) for _ in found] for image, found in made.items()}
    pieces = sorted(
        ((stroke, i) for i, task in enumerate(document.tasks) for stroke in task.strokes if not stroke.undone),
        key=lambda piece: piece[0].id,
    )
    strokes: list[list[Stroke]] = [[] for _ in document.tasks]
    newest, next_id = {0: 0}, 1
    for stroke, i in pieces:
        for crop, entry in zip(crops.get(stroke.image, ()), entries.get(stroke.image, ())):
            coords = _inside(stroke, crop)
            if len(coords):
                strokes[i].append(replace(stroke, id=next_id, image=entry.id, coords=coords))
                next_id += 1
        newest[stroke.id] = next_id - 1
    tasks = tuple(_renumbered(task, tuple(mine), newest) for task, mine in zip(document.tasks, strokes))
    return Document(tuple(images), tasks, document.version, 0, next_id)


def _inside(stroke: Stroke, crop: Crop) -> NDArray[np.int64]:
    """The coordinates in the crop of those pixels that lie in its cells."""
    ndim = len(crop.entry.shape)
    cells = _cells_of(stroke.coords, crop.entry)
    low, high = crop.cells.min(0), crop.cells.max(0)
    near = ((cells >= low) & (cells <= high)).all(1)
    span = tuple((high - low + 1).tolist())
    kept = np.ravel_multi_index(tuple((crop.cells - low).T), span)
    mine = np.flatnonzero(near)[np.isin(np.ravel_multi_index(tuple((cells[near] - low).T), span), kept)]
    return stroke.coords[mine][:, -ndim:] - crop.region.start


def _renumbered(task: Task, strokes: tuple[Stroke, ...], newest: dict[int, int]) -> Task:
    """The task with its strokes cut, and its models saying up to which of them they were trained."""
    known = np.array(sorted(newest))
    last = [newest[int(known[np.searchsorted(known, m.last_stroke, "right") - 1])] for m in task.models]
    models = tuple(replace(m, last_stroke=n) for m, n in zip(task.models, last))
    return replace(task, strokes=strokes, undone=(), models=models)


def _with_ids_apart(entries: list[ImageEntry]) -> list[ImageEntry]:
    """Crops that look the same get ids of their own."""
    seen: dict[str, int] = {}
    apart = []
    for entry in entries:
        n = seen[entry.id] = seen.get(entry.id, 0) + 1
        apart.append(entry if n == 1 else _with_id(entry, f"{entry.id}-{n}"))
    return apart


def _with_id(entry: ImageEntry, new: str) -> ImageEntry:
    renamed = replace(entry, id=new)
    return renamed if entry.mask is None else replace(renamed, mask=replace(entry.mask, id=mask_id(renamed)))
