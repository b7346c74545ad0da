"""Many arrays as one image: a folder, a pattern or a list of planes or channels, also inside files; folders of such folders too."""

import glob
import re
from collections import Counter
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from brushwork.errors import InputError
from brushwork.image import Sliceable
from brushwork.io import hdf5, n5, numpy_files, raster, tiff
from brushwork.io.places import split_inside
from brushwork.io.sources import Stacked
from brushwork.io.stored import Level, Stored, checked, is_n5
from brushwork.io.wrong import missing

READERS: dict[str, Callable[[str], Stored]] = {
    **dict.fromkeys((".tif", ".tiff"), tiff.read),
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".bmp"), raster.read),
    ".npy": numpy_files.read,
}
INSIDE: dict[str, tuple[Callable[[str], Stored], Callable[[Path], list[str]]]] = {  # those that hold several, by name
    **dict.fromkeys(hdf5.SUFFIXES, (partial(hdf5.read, chunk_cache=1 << 20), hdf5.names)),
    ".n5": (n5.read, n5.names),
    ".npz": (numpy_files.read, numpy_files.names),
}
CHECKED_FILES = (
    2000  # of longer lists the first and last file are checked when they are opened, the others when they are read
)


def read(uri: str) -> Stored:
    """The planes in a folder, or those that a pattern finds, in natural order."""
    if Path(uri).is_dir():
        return read_paths([str(path) for path in _files_of(Path(uri))])
    return read_paths(sorted(matching(uri), key=natural))


def matching(pattern: str) -> list[str]:
    """What a pattern like `folder/plane_*.tif` or `files_*.h5/plane_*` means, in the order of the names as text.

    A name that is there stands for itself, whatever letters it has. "*" goes on across "/" inside a file.
    Raises InputError where nothing has such a name.
    """
    file, inner = split_inside(pattern)
    files = [file] if Path(file).exists() else sorted(glob.glob(file, recursive=True))
    if not inner or Path(file).suffix.lower() not in INSIDE:
        found = files if not inner else sorted(glob.glob(pattern, recursive=True))
    else:
        found = [f"{path}/{name}" for path in files for name in _names(path, inner)]
    if not found:
        raise InputError(f"no file matches {Path(pattern).absolute()}")
    return found


def _names(file: str, pattern: str) -> list[str]:
    there = INSIDE[Path(file).suffix.lower()][1](Path(file))
    return [pattern] if pattern in there else sorted(name for name in there if fnmatchcase(name, pattern))


def natural(path: Path | str) -> list[tuple[int, int | str]]:
    """A key that sorts plane9 before plane10."""
    return [(0, int(part)) if part.isdigit() else (1, part.lower()) for part in re.split(r"(\d+)", str(path)) if part]


def read_paths(paths: Sequence[str]) -> Stored:
    """Files, folders or arrays inside files, of one size, as one image, in the order given; the first axis runs over them."""
    for path in paths:
        if not Path(split_inside(path)[0]).exists():
            raise missing(Path(path))
    if len(paths) == 1 and not _is_folder(paths[0]):
        return _stored(paths[0])
    first = _opened(paths[0])
    looked_at = paths if len(paths) <= CHECKED_FILES else (paths[0], paths[-1])
    for path in looked_at:
        _same(_opened(path), first, path, paths[0])
    source = Stacked(tuple(partial(_part, path, first, paths[0]) for path in paths), tuple(first.shape), first.dtype)
    stems = [Path(path).name.split(".")[0] for path in paths]
    numbered = len({re.sub(r"\d+", "", stem) for stem in stems}) == 1
    inner = None if _is_folder(paths[0]) else _stored(paths[0])
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


def _is_folder(path: str) -> bool:
    """Whether it is a folder of planes, not an array in one."""
    return Path(path).is_dir() and not is_n5(Path(path))


@lru_cache(maxsize=64)
def _remembered(path: str, changed: int, size: int) -> Stored:
    suffix = Path(split_inside(path)[0]).suffix.lower()
    reader = INSIDE[suffix][0] if suffix in INSIDE else READERS.get(suffix)
    if reader is None:
        known = ", ".join((*READERS, *INSIDE))
        raise InputError(f"{path} cannot be one of many planes; known are {known}")
    return reader(path)


def _stored(path: str) -> Stored:
    status = (Path(path) if Path(path).exists() else Path(split_inside(path)[0])).stat()
    return _remembered(path, status.st_mtime_ns, status.st_size)


def _opened(path: str) -> Sliceable:
    stored = read(path) if _is_folder(path) else _stored(path)
    return checked(stored.levels[0].open(), path)


def _part(path: str, first: Sliceable, first_path: str) -> Sliceable:
    return _same(_opened(path), first, path, first_path)


def _same(source: Sliceable, first: Sliceable, path: str, first_path: str) -> Sliceable:
    if tuple(source.shape) != tuple(first.shape) or np.dtype(source.dtype) != np.dtype(first.dtype):
        extents = [" x ".join(str(n) for n in s.shape) + f" {np.dtype(s.dtype)}" for s in (source, first)]
        raise InputError(f"planes differ: {path} is {extents[0]}, {Path(first_path).name} is {extents[1]}")
    return source
