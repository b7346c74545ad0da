"""Reading HDF5 that a stranger wrote: links are looked at before they are followed, sizes before anything is read.

Soft and external links, numbers kept in other files, and arrays that claim far more than the file stores are refused with
`Refused`, whose message says which part of the file is meant. Nothing is ever unpickled.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from brushwork.errors import InputError
from brushwork.io.hdf5_texts import REFERENCE, are_sound
from brushwork.io.wrong import first_line, missing, not_readable

LARGEST_ARRAY = 256 << 20  # bytes
LARGEST_TEXT = 1 << 20  # bytes of one entry, or of a list of texts
LARGEST_GROUP = 1_000_000  # links
COMPRESSION = 1100  # deflate reaches 1032 to 1
SMALL = 1 << 20  # bytes: so much may be claimed without being stored
SIZES = (8, 8)  # bytes of a place and of a length, in every file that ilastik writes
DAMAGE = (
    OSError,
    RuntimeError,
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    AttributeError,
    OverflowError,
    MemoryError,
)


class Refused(ValueError):
    """A part of the file cannot be used; the message names it."""


@contextmanager
def guarded(path: Path, wanted: str) -> Iterator[Any]:
    """An HDF5 file, open for reading; whatever goes wrong with it is raised as InputError.

    wanted : what the file should be, e.g. "an ilastik project".
    """
    if not path.is_file():
        raise missing(path) if not path.exists() else InputError(f"{path} is a folder; {wanted} is one file")
    _check_texts(path)
    try:
        file = h5py.File(path, "r")
    except DAMAGE as error:
        raise not_readable(path, "an HDF5 file", error) from None
    try:
        with file:
            if file.id.get_create_plist().get_sizes() != SIZES:
                raise Refused("its numbers are of other sizes than ilastik's")
            yield file
    except InputError:
        raise
    except Refused as error:
        raise InputError(f"{path} cannot be used as {wanted}: {error}; get an undamaged copy of it") from None
    except DAMAGE as error:
        raise InputError(f"{path} is damaged: {first_line(error)}; get an undamaged copy of it") from None


def _check_texts(path: Path) -> None:
    try:
        is_empty = path.stat().st_size == 0
        is_sound = is_empty or are_sound(path)
    except OSError as error:
        raise not_readable(path, "an HDF5 file", error) from None
    if is_empty:
        raise not_readable(path, "an HDF5 file")
    if not is_sound:
        raise InputError(f"{path} is damaged: its texts are not as long as it says; get an undamaged copy")


def names(group: Any) -> list[str]:
    """The names in a group, sorted."""
    if len(group) > LARGEST_GROUP:
        raise Refused(f"{group.name} holds {len(group)} entries")
    return sorted(group)


def child(group: Any, name: str) -> Any:
    """The group or dataset of that name right below `group`; None where there is none."""
    for part in name.split("/"):
        encoded = part.encode()
        if group is None or not isinstance(group, h5py.Group) or not group.id.links.exists(encoded):
            return None
        if group.id.links.get_info(encoded).type != h5py.h5l.TYPE_HARD:
            raise Refused(f"{group.name}/{part} is a link to another place")
        group = group[part]
    return group


def subgroup(group: Any, name: str) -> Any:
    """The group of that name; None where there is none."""
    found = child(group, name)
    if found is not None and not isinstance(found, h5py.Group):
        raise Refused(f"{found.name} is not a group")
    return found


def dataset(group: Any, name: str) -> Any:
    """The dataset of that name, stored in this file; None where there is none."""
    found = child(group, name)
    if found is None:
        return None
    if not isinstance(found, h5py.Dataset) or found.shape is None:
        raise Refused(f"{found.name} is not an array")
    if found.external or found.is_virtual:
        raise Refused(f"{found.name} keeps its numbers in another file")
    return found


def check_size(data: Any, limit: int = LARGEST_ARRAY) -> None:
    """Raise Refused where an array, or one of its chunks, is larger than `limit` bytes or claims what is not stored."""
    size = math.prod(data.shape) * data.dtype.itemsize
    chunk = math.prod(data.chunks or ()) * data.dtype.itemsize
    if max(size, chunk) > limit:
        raise Refused(
            f"{data.name} claims to be {' x '.join(map(str, data.shape))} {data.dtype}, more than can be meant"
        )
    if size > SMALL + COMPRESSION * data.id.get_storage_size():
        raise Refused(f"{data.name} claims {size} bytes and stores {data.id.get_storage_size()}")


def array(group: Any, name: str, kinds: str = "biuf") -> NDArray | None:
    """The numbers of that name; None where there are none. kinds : letters of numpy's dtype.kind."""
    data = dataset(group, name)
    if data is None:
        return None
    if data.dtype.kind not in kinds:
        raise Refused(f"{data.name} holds {data.dtype} where numbers are wanted")
    check_size(data)
    return np.asarray(data[()])


def need(value: Any, group: Any, name: str) -> Any:
    """`value`, which the file has to have."""
    if value is None:
        raise Refused(f"{group.name.rstrip('/')}/{name} is absent")
    return value


def text(group: Any, name: str) -> str | None:
    """The text of that name; None where there is none."""
    data = dataset(group, name)
    if data is None:
        return None
    if data.dtype.kind not in "SOV" or data.shape != ():
        raise Refused(f"{data.name} is not a text")
    return _texts(data)[0]


def texts(group: Any, name: str) -> list[str] | None:
    """The list of texts of that name; None where there is none."""
    data = dataset(group, name)
    if data is None:
        return None
    if data.dtype.kind not in "SO" or data.ndim != 1:
        raise Refused(f"{data.name} is not a list of texts")
    return _texts(data)


def _texts(data: Any) -> list[str]:
    """The texts; what they claim together is looked at first, since many may stand for one long one."""
    if data.dtype.kind == "O" and h5py.check_string_dtype(data.dtype) is None:
        raise Refused(f"{data.name} is not a text")
    check_size(data, LARGEST_TEXT)
    if data.dtype.kind == "O" and _claimed(data) > LARGEST_TEXT:
        raise Refused(f"{data.name} is longer than any text that can be meant")
    return [_decoded(data[index]) for index in np.ndindex(data.shape)]


def _claimed(data: Any) -> int:
    """Bytes of all texts of a list, as their references say."""
    at = data.id.get_offset()
    if at is None:
        raise Refused(f"{data.name} is not stored as texts of ilastik are")
    with open(data.file.filename, "rb") as file:
        file.seek(at)
        references = file.read(REFERENCE * data.size)
    return sum(int.from_bytes(references[i : i + 4], "little") for i in range(0, len(references), REFERENCE))


def _decoded(value: Any) -> str:
    if isinstance(value, np.void):
        value = value.tobytes()
    return value.decode("utf-8", "replace").rstrip("\0") if isinstance(value, bytes) else str(value)


def attribute(item: Any, name: str) -> Any:
    """A text, a number or a truth value that an item is marked with; None where there is none."""
    if name not in item.attrs:
        return None
    raw = item.attrs.get_id(name)
    string = h5py.check_string_dtype(raw.dtype) is not None
    if raw.shape != () or not (string or raw.dtype.kind in "biufS") or raw.get_storage_size() > LARGEST_TEXT:
        raise Refused(f"the mark {name!r} of {item.name} cannot be read")
    value = item.attrs[name]
    return _decoded(value) if isinstance(value, (bytes, str)) else value
