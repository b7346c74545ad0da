"""Errors about files: what is missing, and what a file is when it is not what its name says."""

import difflib
import zipfile
from pathlib import Path

from brushwork.errors import InputError

MAGIC = {
    b"II*\0": "a TIFF image",
    b"MM\0*": "a TIFF image",
    b"II+\0": "a TIFF image",
    b"MM\0+": "a TIFF image",
    b"\x89PNG\r\n\x1a\n": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"BM": "a BMP image",
    b"GIF8": "a GIF image",
    b"\x89HDF\r\n\x1a\n": "an HDF5 file",
    b"\x93NUMPY": "a NumPy array",
    b"ZISRAWFILE": "a Zeiss CZI image",
    b"\x1f\x8b": "gzip-compressed data",
    b"BZh": "bzip2-compressed data",
    b"7z\xbc\xaf": "a 7z archive",
    b"%PDF": "a PDF document",
    b"SQLite format 3": "an SQLite database",
}


def looks_like(path: Path) -> str:
    """What the first bytes of a file say it is."""
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        return "an empty file"
    if zipfile.is_zipfile(path):
        return "a zip archive"
    for magic, name in MAGIC.items():
        if head.startswith(magic):
            return name
    if head[0] == 0x80 and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "a Python pickle, which is never opened"
    if b"\0" not in head:
        try:
            head.decode("utf-8")
        except UnicodeDecodeError as error:
            return "data of an unknown kind" if error.start < len(head) - 4 else "text"
        return "text"
    return "data of an unknown kind"


def not_readable(path: Path | str, wanted: str, reason: object = "") -> InputError:
    """The error for a file that its reader cannot read.

    wanted : what it should be, e.g. "a TIFF image".
    """
    path = Path(path)
    try:
        found = looks_like(path)
    except OSError as error:
        return InputError(f"{path} cannot be read: {error.strerror or error}")
    if found != wanted:
        return InputError(f"{path} is not {wanted}; it looks like {found}")
    detail = f" ({first_line(reason)})" if str(reason) else ""
    return InputError(f"{path} is damaged or incomplete: it begins like {wanted} but cannot be read{detail}")


def missing(path: Path) -> InputError:
    """The error for a path that does not exist: it names the nearest things that do."""
    path = path.absolute()
    parent = path.parent
    if not parent.is_dir():
        absent = next(p for p in (*reversed(parent.parents), parent) if not p.is_dir())
        return InputError(f"{path} does not exist: there is no folder {absent.name!r} in {absent.parent.name or '/'!r}")
    names = [entry.name for entry in parent.iterdir()]
    near = difflib.get_close_matches(path.name, names, n=3, cutoff=0.7)
    hint = f"; similar names there: {', '.join(near)}" if near else ""
    return InputError(f"{path} does not exist{hint}")


def first_line(reason: object, limit: int = 300) -> str:
    """The first line of a message, without the essay that some libraries append."""
    lines = str(reason).strip().splitlines()
    return lines[0][:limit] if lines else type(reason).__name__
