""".npy and .npz: arrays of NumPy. Nothing pickled is ever loaded."""

import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format

from brushwork.errors import InputError, unknown
from brushwork.io.sources import Mapped, Whole
from brushwork.io.stored import Stored, one_level
from brushwork.io.wrong import missing, not_readable


def read(uri: str) -> Stored:
    """The array in a .npy file, or one of a .npz file: `FILE.npz/NAME`, or `FILE.npz` where there is only one."""
    inside = re.match(r"(.*\.npz)[/\\](.+)$", uri, re.IGNORECASE)
    if inside and not Path(uri).exists():
        return _read_npz(Path(inside[1]), inside[2])
    return _read_npz(Path(uri), None) if uri.lower().endswith(".npz") else _read_npy(Path(uri))


def names(path: Path) -> list[str]:
    """The arrays of a .npz file."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [entry.removesuffix(".npy") for entry in archive.namelist() if entry.endswith(".npy")]
    except (zipfile.BadZipFile, OSError) as error:
        raise not_readable(path, "a zip archive", error) from error


def _header(file: Any, what: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = npy_format.read_magic(file)
    read_header = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
    shape, fortran, dtype = read_header(file)
    if dtype.hasobject:
        raise InputError(
            f"{what} holds Python objects (a pickle), which are never opened; save it as an array of numbers"
        )
    return shape, fortran, dtype


def _read_npy(path: Path) -> Stored:
    try:
        with path.open("rb") as file:
            shape, fortran, dtype = _header(file, str(path))
            offset = file.tell()
    except InputError:
        raise
    except (ValueError, OSError) as error:
        raise not_readable(path, "a NumPy array", error) from error
    end = offset + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if end > path.stat().st_size:
        raise InputError(
            f"{path} is truncated: it should have {end:,} bytes but has {path.stat().st_size:,}; copy it again"
        )
    return one_level(Mapped(path, dtype, shape, offset, "F" if fortran else "C"))


def _read_npz(path: Path, name: str | None) -> Stored:
    if not path.exists():
        raise missing(path)
    there = names(path)
    if name is None and len(there) != 1:
        raise InputError(
            f"{path} holds {len(there)} arrays ({', '.join(there)}); name one, e.g. {path}/{there[0] if there else 'NAME'}"
        )
    name = name or there[0]
    if name not in there:
        raise unknown(f"array in {path}", name, there)
    try:
        with zipfile.ZipFile(path) as archive, archive.open(name + ".npy") as file:
            shape, _, dtype = _header(file, f"{path}/{name}")
    except InputError:
        raise
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise not_readable(path, "a zip archive", error) from error

    def load() -> np.ndarray:
        with np.load(path, allow_pickle=False) as arrays:
            return arrays[name]

    return one_level(Whole(shape, dtype, load))
