"""NIfTI (.nii, .nii.gz), which ITK-SNAP reads and paints on. The affine decides the order and direction of axes.

Our x, y, z run to the patient's left, back and head, as those of ITK do: the affine of what is written is diag(-x, -y, z) in
millimetres, and what is read is turned until it has that form. Files that say nothing about directions (both codes 0) stay as they
are stored.
"""

import gzip
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from brushwork.errors import InputError, MissingPart
from brushwork.image import Image, Sliceable
from brushwork.io.sources import Mapped, Whole, full_key
from brushwork.io.stored import Stored, one_level
from brushwork.io.units import to_um
from brushwork.io.wrong import first_line, not_readable

SUFFIXES = (".nii", ".nii.gz")
WANTED = "a NIfTI image"
LETTERS = "xyztc"
OURS = np.array([-1, -1, 1])  # along the axes of the affine: right, front, head
TOLERANCE = 1e-4  # of directions, and of sizes and places in pixels
MOST_GZIPPED = 1032  # times its size is the most that gzip unpacks to
NIFTI_1_LENGTH = 32767
DAMAGE = (OSError, EOFError, zlib.error, ValueError, KeyError, IndexError, OverflowError, TypeError)


@dataclass(frozen=True)
class Header:
    """Of a NIfTI file: how its array is stored and where it lies.

    shape : along x, y, z, t, c as stored. axes : which of "xyztc" each of its axes is. flipped : those that run the other way.
    affine : (4, 4) from pixels along our x, y, z, turned as we turn them, to millimetres; None where the file does not say.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int
    slope: float
    intercept: float
    axes: str
    flipped: str
    affine: NDArray[np.float64] | None
    pixel_size: dict[str, float]

    @property
    def nbytes(self) -> int:
        """Until the end of the pixels."""
        return self.offset + int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize


def _nibabel() -> Any:
    try:
        import nibabel
    except ImportError:
        raise MissingPart("reading and writing NIfTI", "formats") from None
    return nibabel


def read(uri: str) -> Stored:
    header = read_header(Path(uri))
    _check_length(header)
    shape = header.shape[::-1]  # x runs fastest in the file
    source: Sliceable = (
        Whole(shape, header.dtype, partial(_unpacked, header))
        if _is_gzipped(header.path)
        else Mapped(header.path, header.dtype, shape, header.offset)
    )
    axes = header.axes[::-1]
    if header.flipped:
        source = Flipped(source, tuple(axes.index(a) for a in header.flipped))
    if (header.slope, header.intercept) != (1, 0):
        source = Scaled(source, header.slope, header.intercept)
    return one_level(source, axes, pixel_size=header.pixel_size)


def read_header(path: Path) -> Header:
    """What a NIfTI file says about itself; raises InputError where it is none, or oblique."""
    nib = _nibabel()
    problems = (nib.filebasedimages.ImageFileError, nib.spatialimages.HeaderDataError, *DAMAGE)
    try:
        image = nib.load(path)
        if not isinstance(image, (nib.Nifti1Image, nib.Nifti2Image)):
            raise InputError(
                f"{path} is a {type(image).__name__}, not {WANTED} in one file; save it as .nii or .nii.gz"
            )
        stored = image.header
        shape, dtype = tuple(int(n) for n in image.shape), np.dtype(stored.get_data_dtype())
        unit = stored.get_xyzt_units()[0]
        is_placed = int(stored["qform_code"]) > 0 or int(stored["sform_code"]) > 0
        affine = np.asarray(image.affine, np.float64) if is_placed else None
        sizes = np.abs(np.asarray(stored["pixdim"][1:4], np.float64))
        slope, intercept = float(image.dataobj.slope), float(image.dataobj.inter)
        offset = int(image.dataobj.offset)
    except InputError:
        raise
    except problems as error:
        raise not_readable(path, "gzip-compressed data" if _is_gzipped(path) else WANTED, error) from error
    if dtype.names:
        raise InputError(f"{path} holds colours; save each channel as numbers, or the image as TIFF")
    shape = shape + (1,) * (3 - len(shape))
    if any(n != 1 for n in shape[5:]) or min(shape) < 1:
        raise InputError(f"{path} is {' x '.join(map(str, shape))}; at most x, y, z, time and channels are understood")
    shape = shape[:5]
    axes, flipped = "xyz", ""
    if affine is not None:
        axes, flipped, affine, sizes = _turned(path, affine, shape)
    known = {a: to_um(float(size), unit) for a, size in zip(axes, sizes)}
    # Sizes are stored as float32: six digits are what is known.
    pixel_size = {a: float(f"{size:.6g}") for a, size in known.items() if size is not None}
    axes += LETTERS[3 : len(shape)]
    return Header(path, shape, dtype, offset, slope, intercept, axes, flipped, affine, pixel_size)


def _is_gzipped(path: Path) -> bool:
    return path.name.lower().endswith(".gz")


def _turned(path: Path, affine: NDArray, shape: Sequence[int]) -> tuple[str, str, NDArray, NDArray]:
    """(axes, flipped ones, affine once they are turned, millimetres per pixel of each axis as stored)."""
    with np.errstate(all="ignore"):
        sizes = np.sqrt((affine[:3, :3] ** 2).sum(0))
        directions = affine[:3, :3] / sizes
    if not np.isfinite(affine).all() or not (sizes > 0).all():
        raise InputError(
            f"{path} has an affine that squeezes an axis to nothing; correct it in the program that wrote it"
        )
    signs = np.rint(directions)
    if np.abs(directions - signs).max() > TOLERANCE or not (np.abs(signs).sum(0) == 1).all():
        raise InputError(
            f"{path} is oblique: its axes are turned against left, back and head; resample it to straight axes first"
        )
    along = np.abs(signs).argmax(0)
    axes = "".join(LETTERS[i] for i in along)
    backwards = signs[along, range(3)] != OURS[along]
    ours, origin = np.eye(4), affine[:3, 3].copy()
    for i in range(3):
        origin += backwards[i] * affine[:3, i] * (shape[i] - 1)
        ours[along[i], along[i]] = OURS[along[i]] * sizes[i]
    ours[:3, 3] = origin
    return axes, "".join(a for a, is_backwards in zip(axes, backwards) if is_backwards), ours, sizes


def _check_length(header: Header) -> None:
    there = header.path.stat().st_size
    if header.nbytes > (there * MOST_GZIPPED if _is_gzipped(header.path) else there):
        raise InputError(
            f"{header.path} is truncated: its pixels should end at {header.nbytes:,} bytes but it has {there:,}; copy it again"
        )


def _unpacked(header: Header) -> NDArray:
    try:
        with gzip.open(header.path) as file:
            file.seek(header.offset)
            data = file.read(header.nbytes - header.offset)
    except DAMAGE as error:
        raise InputError(f"{header.path} is damaged: it cannot be unpacked ({first_line(error)})") from error
    if len(data) < header.nbytes - header.offset:
        raise InputError(f"{header.path} is truncated: its pixels end too early; copy it again")
    return np.frombuffer(data, header.dtype).reshape(header.shape[::-1])


class Flipped:
    """An array some of whose axes run the other way; slices go forwards."""

    def __init__(self, source: Sliceable, axes: tuple[int, ...]) -> None:
        self._source, self._axes = source, axes
        self.shape, self.dtype = tuple(source.shape), source.dtype
        self.by_pixel = getattr(source, "by_pixel", False)

    def __getitem__(self, key: Any) -> NDArray:
        wanted = list(full_key(key, len(self.shape)))
        back = [slice(None) for k in wanted if isinstance(k, slice)]
        for axis in self._axes:
            at, n = wanted[axis], self.shape[axis]
            if not isinstance(at, slice):
                wanted[axis] = n - 1 - range(n)[at]
                continue
            span = range(n)[at]
            wanted[axis] = slice(n - 1 - span[-1], n - span[0], span.step) if span else slice(0, 0)
            back[sum(isinstance(k, slice) for k in wanted[:axis])] = slice(None, None, -1)
        return np.asarray(self._source[tuple(wanted)])[tuple(back)]


class Scaled:
    """Numbers that a file stores as others: slope times these, plus an intercept."""

    dtype = np.dtype(np.float32)

    def __init__(self, source: Sliceable, slope: float, intercept: float) -> None:
        self._source, self._slope, self._intercept = source, slope, intercept
        self.shape = tuple(source.shape)
        self.by_pixel = getattr(source, "by_pixel", False)

    def __getitem__(self, key: Any) -> NDArray:
        values = np.asarray(self._source[key], np.float64)
        return (values * self._slope + self._intercept).astype(np.float32)


# ---------------------------------------------------------------- place


def check_same_place(labels: str, image: Image, *, is_part: bool = False) -> None:
    """Raise InputError where a NIfTI file of labels has other pixels, or lies elsewhere, than the image.

    Pixel sizes are compared where both know them; origins where the image is a NIfTI too. is_part : leaves the origin out.
    """
    given = read_header(Path(labels))
    spatial = "zyx"[-len(image.shape) :]
    sizes = [given.pixel_size.get(a, 0.0) for a in spatial]
    if image.pixel_size is not None and all(sizes) and not np.allclose(sizes, image.pixel_size, rtol=TOLERANCE, atol=0):
        raise InputError(
            f"pixels of {labels} are {_um(sizes)} um ({','.join(spatial)}), those of {image.uri} are {_um(image.pixel_size)} um; "
            "these labels belong to another image, or one of the two sizes is wrong"
        )
    if is_part or given.affine is None or not image.uri.lower().endswith(SUFFIXES):
        return
    origin = read_header(Path(image.uri)).affine
    if origin is None:
        return
    away = np.linalg.solve(origin, given.affine)[:3, 3]  # in pixels of the image
    if np.abs(away).max() > TOLERANCE * max(image.shape):
        x, y, z = away.round(1) + 0.0  # no minus before a zero
        raise InputError(
            f"{labels} begins {z}, {y}, {x} pixels (z, y, x) from the first pixel of {image.uri}; "
            "labels of a part of the image need an offset"
        )


def _um(sizes: Sequence[float]) -> str:
    return " x ".join(f"{size:g}" for size in sizes)


# ---------------------------------------------------------------- writing


def header_bytes(shape: Sequence[int], dtype: DTypeLike, pixel_size: Sequence[float] | None) -> bytes:
    """All that precedes the pixels. shape : along x, y, z (, t, c). pixel_size : micrometres along z, y, x; None where unknown."""
    nib = _nibabel()
    is_large = max(shape) > NIFTI_1_LENGTH
    header = nib.Nifti2Header() if is_large else nib.Nifti1Header()
    header.set_data_dtype(np.dtype(dtype))
    header.set_data_shape(shape)
    sizes = np.array(pixel_size)[::-1] * 1e-3 if pixel_size is not None else np.ones(3)
    affine = np.diag([*(OURS * sizes), 1])
    header.set_qform(affine, code=1)
    header.set_sform(affine, code=1)
    header.set_xyzt_units("mm" if pixel_size is not None else "unknown", "sec")
    # Four bytes after the header say that no extensions follow; pixels begin at a multiple of 16.
    header.set_data_offset(544 if is_large else 352)
    return header.binaryblock + bytes(4)
