"""Many files as one image: a folder, a glob or a list of planes or channels; folders of such folders too."""

import glob
import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from brushwork.errors import InputError
from brushwork.image import Sliceable
from brushwork.io import numpy_files, raster, tiff
from brushwork.io.sources import Stacked
from brushwork.io.stored import Level, Stored, checked
from brushwork.io.wrong import missing

READERS: dict[str, Callable[[str], Stored]] = {
    **dict.fromkeys((".tif", ".tiff"), tiff.read),
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".bmp"), raster.read),
    ".npy": numpy_files.read,
}
CHECKED_FILES = (
    2000  # of longer lists the first and last file are checked when they are opened, the others when they are read
)


def read(uri: str) -> Stored:
    """The planes in a folder, or those that a glob like `folder/plane_*.tif` finds, in natural order."""
    if Path(uri).is_dir():
        return read_paths(_files_of(Path(uri)))
    paths = [Path(p) for p in glob.glob(uri, recursive=True)]
    if not paths:
        raise InputError(f"no file matches {Path(uri).absolute()}")
    return read_paths(sorted(paths, key=natural))


def natural(path: Path) -> list[tuple[int, int | str]]:
    """A key that sorts plane9 before plane10."""
    return [(0, int(part)) if part.isdigit() else (1, part.lower()) for part in re.split(r"(\d+)", str(path)) if part]


def read_paths(paths: Sequence[Path]) -> Stored:
    """Files or folders of one size as one image, in the order given; the first axis runs over them."""
    for path in paths:
        if not path.exists():
            raise missing(path)
    if len(paths) == 1 and paths[0].is_file():
        return _stored(paths[0])
    first = _opened(paths[0])
    looked_at = paths if len(paths) <= CHECKED_FILES else (paths[0], paths[-1])
    for path in looked_at:
        _same(_opened(path), first, path, paths[0])
    source = Stacked(tuple(partial(_part, path, first, paths[0]) for path in paths), tuple(first.shape), first.dtype)
    stems = [path.name.split(".")[0] for path in paths]
    numbered = len({re.sub(r"\d+", "", stem) for stem in stems}) == 1
    inner = _stored(paths[0]) if paths[0].is_file() else None
    sizes = inner.levels[0].pixel_size if inner else {}
    names = () if numbered else tuple(stems)
    note = "the first axis runs over the files; separate images have to be given one by one"
    return Stored((Level("0", lambda: source, sizes),), None, names, note=note)


def _files_of(folder: Path) -> list[Path]:
    entries = sorted((p for p in folder.iterdir() if not p.name.startswith(".")), key=natural)
    files = [p for p in entries if p.is_file() and p.suffix.lower() in READERS]
    kinds = Counter(READERS[p.suffix.lower()] for p in files)
    if len(kinds) > 1:
        suffixes = Counter(p.suffix for p in files)
        listed = ", ".join(f"{n} {suffix}" for suffix, n in suffixes.items())
        raise InputError(
            f"{folder} holds images of several kinds ({listed}); say which with a pattern, e.g. '{folder}/*{files[0].suffix}'"
        )
    folders = [p for p in entries if p.is_dir()]
    if not files and not (folders and all(_has_images(p) for p in folders)):
        there = ", ".join(p.name for p in entries[:6]) + (" ..." if len(entries) > 6 else "")
        raise InputError(
            f"{folder.absolute()} holds no images ({there or 'it is empty'}); known are {', '.join(READERS)}"
        )
    return files or folders


def _has_images(folder: Path) -> bool:
    return any(p.suffix.lower() in READERS for p in folder.iterdir())


@lru_cache(maxsize=64)
def _remembered(path: Path, changed: int, size: int) -> Stored:
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path} cannot be one of many planes; known are {', '.join(READERS)}")
    return reader(str(path))


def _stored(path: Path) -> Stored:
    status = path.stat()
    return _remembered(path, status.st_mtime_ns, status.st_size)


def _opened(path: Path) -> Sliceable:
    stored = read(str(path)) if path.is_dir() else _stored(path)
    return checked(stored.levels[0].open(), str(path))


def _part(path: Path, first: Sliceable, first_path: Path) -> Sliceable:
    return _same(_opened(path), first, path, first_path)


def _same(source: Sliceable, first: Sliceable, path: Path, first_path: Path) -> Sliceable:
    if tuple(source.shape) != tuple(first.shape) or np.dtype(source.dtype) != np.dtype(first.dtype):
        extents = [" x ".join(str(n) for n in s.shape) + f" {np.dtype(s.dtype)}" for s in (source, first)]
        raise InputError(f"planes differ: {path} is {extents[0]}, {first_path.name} is {extents[1]}")
    return source
