"""Where images lie: as a project notes it, as it is opened, and the files that hold them."""

import os
import re
import shutil
from pathlib import Path, PurePath

from brushwork.errors import InputError
from brushwork.io import INSIDE
from brushwork.io.aside import written_aside

_INSIDE = re.compile(
    rf"(.+?(?:{'|'.join(map(re.escape, (*INSIDE, '.ilp')))}))(?:[/\\](.*))?", re.IGNORECASE | re.DOTALL
)
_PAGE = re.compile(r"(.*\.(?:tiff?|btf|tf8|svs))#\d+", re.IGNORECASE)


def is_remote(uri: str) -> bool:
    """Whether this is an address rather than a path."""
    return re.match(r"[a-z][a-z0-9+]+://", uri) is not None


def noted(uri: str, folder: Path, *, absolute: bool = False) -> str:
    """`uri` as a project in `folder` notes it: relative with "/", absolute on another drive or where asked for.

    An address stays as it is.
    """
    if is_remote(uri):
        return uri
    full = os.path.abspath(uri)
    if absolute or PurePath(full).drive != PurePath(os.path.abspath(folder)).drive:
        return PurePath(full).as_posix()
    return PurePath(os.path.relpath(full, os.path.abspath(folder))).as_posix()


def opened_at(path: str, folder: Path) -> str:
    """What `noted` stands for: a path that can be opened from anywhere."""
    return path if is_remote(path) else os.path.normpath(os.path.join(os.path.abspath(folder), path))


def split_inside(uri: str) -> tuple[str, str]:
    """A file, and the path that goes on inside it, "" where none does; of any system.

    >>> split_inside("d/a.h5/x/y"), split_inside("C:\\\\d\\\\a.n5\\\\x"), split_inside("a.tif")
    (('d/a.h5', 'x/y'), ('C:\\\\d\\\\a.n5', 'x'), ('a.tif', ''))
    """
    found = _INSIDE.fullmatch(uri)
    return (found[1], (found[2] or "").replace("\\", "/").strip("/")) if found else (uri, "")


def file_of(uri: str) -> Path:
    """The file or folder that holds what `uri` names, which may go on inside it ("a.h5/data", "a.tif#2")."""
    page = _PAGE.fullmatch(uri)
    return Path(split_inside(page[1] if page and not Path(uri).exists() else uri)[0])


def is_there(uri: str) -> bool:
    """Whether a path, a path inside a file or a pattern leads to something; an address is taken to."""
    if is_remote(uri):
        return True
    held = file_of(uri)
    if any(c in uri for c in "*?[") and not held.exists():
        return any(held.parent.glob(held.name))
    return held.exists()


def copied(uri: str, folder: Path) -> str:
    """Copy the file or folder that holds an image into `folder`; returns the copy's uri. Raises InputError for what is no file."""
    held = file_of(uri)
    if is_remote(uri) or not held.exists():
        raise InputError(f"{uri} is not a file or folder that can be copied; add it without a copy")
    target, n = folder / held.name, 1
    while target.exists():
        n += 1
        target = folder / f"{held.stem}_{n}{held.suffix}"
    with written_aside(target) as aside:
        if held.is_dir():
            shutil.copytree(held, aside)
        else:
            shutil.copyfile(held, aside)
    return str(target) + str(uri)[len(str(held)) :]


def stem(uri: str) -> str:
    """The name of an image without folder and suffixes: "a/b.ome.tif" -> "b"; of "a.h5/data" -> "a_data".

    >>> stem("a/b.ome.tif"), stem("a.n5/some/data"), stem("a.h5/plane_*")
    ('b', 'a_some_data', 'a_plane__')
    """
    path = Path(uri.rstrip("/").replace("*", "_").replace("?", "_"))
    for i, part in enumerate(path.parts):
        if part.lower().endswith((".h5", ".hdf5", ".n5")) and i < len(path.parts) - 1:
            return "_".join([part.rsplit(".", 1)[0], *path.parts[i + 1 :]])
    name = path.name
    for suffix in (".ome.tiff", ".ome.tif", ".ome.zarr", ".nii.gz"):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name.rsplit(".", 1)[0] if "." in name else name
