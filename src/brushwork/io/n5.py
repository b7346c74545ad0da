"""N5: `NAME.n5/path/of/a/dataset`, through tensorstore. N5 names the fastest axis first, images here have it last."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from brushwork.errors import InputError
from brushwork.io.hdf5 import tagged
from brushwork.io.stored import Stored, one_level
from brushwork.io.units import to_um
from brushwork.io.wrong import missing
from brushwork.io.zarr import ZarrArray, opened

ABOUT = "attributes.json"


def read(uri: str) -> Stored:
    folder = dataset_folder(Path(uri))
    store = opened({"driver": "n5"}, str(folder)).T
    axes, sizes = _described(store, _attributes(folder))
    return one_level(ZarrArray(store, str(folder)), axes, pixel_size=sizes)


def dataset_folder(path: Path) -> Path:
    """Where a dataset lies: `path` itself, or what it holds, where that is one. Raises InputError otherwise."""
    if not path.is_dir():
        raise missing(path)
    if is_dataset(path):
        return path
    there = names(path)
    if len(there) != 1:
        listed = ", ".join(there[:12]) + (" ..." if len(there) > 12 else "")
        hint = f"; name one, e.g. {path}/{there[0]}" if there else ""
        raise InputError(f"{path} holds {len(there)} datasets{f' ({listed})' if there else ''}{hint}")
    return path / there[0]


def names(folder: Path) -> list[str]:
    """The datasets below a folder, by their paths."""
    found = []
    for place, below, _ in os.walk(folder):
        if is_dataset(Path(place)):
            found.append(Path(place).relative_to(folder).as_posix())
            below.clear()  # blocks
    return sorted(found)


def is_dataset(folder: Path) -> bool:
    """Raises InputError where what is noted with a folder is damaged."""
    return isinstance(_attributes(folder).get("dimensions"), list)


def _attributes(folder: Path) -> Mapping[str, Any]:
    """What is noted with a dataset or group, which may be nothing."""
    path = folder / ABOUT
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, OSError, RecursionError) as error:
        raise InputError(f"{path} is damaged: it is no JSON ({error})") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} is damaged: it holds no names and values")
    return found


def _described(store: Any, about: Mapping[str, Any]) -> tuple[str | None, dict[str, float]]:
    """Axes and micrometres by axis letter: as ilastik notes them, else by N5's `axes`, `resolution` and `units`."""
    axes, sizes = tagged(about, store.ndim)
    letters = "".join(store.domain.labels).lower()
    if axes is None and len(letters) == store.ndim and set(letters) <= set("tczyx"):
        axes = letters
    units = [(a, to_um(unit.multiplier, unit.base_unit)) for a, unit in zip(axes or "", store.dimension_units) if unit]
    return axes, sizes or {a: size for a, size in units if size is not None and a in "zyx"}
