"""Tables as CSV, which anything opens, and as Parquet, which keeps types and units."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brushwork._version import __version__
from brushwork.errors import InputError, MissingPart
from brushwork.io.aside import refuse_existing, written_aside
from brushwork.io.wrong import missing, not_readable
from brushwork.table import Table

SUFFIXES = (".csv", ".parquet")
ROWS = 100_000  # turned into text at a time


def write_table(table: Table, path: Path | str, *, overwrite: bool = False) -> None:
    """Write a table to .csv or .parquet; what carries the name is complete.

    Parquet holds the unit of each column and the software in its schema's metadata, and needs the extra "tables".
    Raises InputError where the name has another ending or is taken, RunError where the disk is full.
    """
    path = Path(path)
    write = _write_parquet if _suffix(path) == ".parquet" else _write_csv
    with written_aside(path, overwrite=overwrite) as aside:
        write(table, aside)


def read_table(path: Path | str) -> Table:
    """A table that `write_table` or another program wrote: whole numbers, numbers, True and False, else text."""
    path = Path(path)
    read = _read_parquet if _suffix(path) == ".parquet" else _read_csv
    if not path.exists():
        raise missing(path)
    return read(path)


def check_free(path: Path, overwrite: bool) -> None:
    """Raise InputError where `write_table` would refuse this name, to be asked before anything is computed."""
    if _suffix(path) == ".parquet":
        _parquet()
    refuse_existing(path, overwrite)


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path} ends with {suffix or 'nothing'!r}; tables are {' or '.join(SUFFIXES)}")
    return suffix


# ---------------------------------------------------------------- CSV


def _write_csv(table: Table, path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(table.columns)
        for start in range(0, len(table), ROWS):
            writer.writerows(zip(*(values[start : start + ROWS].tolist() for values in table.columns.values())))


def _read_csv(path: Path) -> Table:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file)
            names = next(rows, [])
            columns = _columns(rows, len(names))
    except (UnicodeDecodeError, csv.Error, ValueError) as error:
        raise not_readable(path, "text", error) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    if len(set(names)) != len(names):
        raise InputError(f"{path} has two columns of one name: {', '.join(names)}")
    return Table({name: _of_type(values) for name, values in zip(names, columns)})


def _columns(rows: Iterator[list[str]], n: int) -> list[list[str]]:
    """The rows below the names, as columns; ValueError where one has another number of fields."""
    columns: list[list[str]] = [[] for _ in range(n)]
    for number, row in enumerate(rows, 2):
        if not row:
            continue
        if len(row) != n:
            raise ValueError(f"row {number} has {len(row)} fields, the first row {n}")
        for values, value in zip(columns, row):
            values.append(value)
    return columns


def _of_type(values: list[str]) -> NDArray:
    if values and set(values) <= {"True", "False"}:
        return np.array([value == "True" for value in values])
    for kind in (int, float):
        try:
            return np.array([kind(value or "nan") for value in values], np.int64 if kind is int else np.float64)
        except (ValueError, OverflowError):
            continue
    return np.array(values)


# ---------------------------------------------------------------- Parquet


def _parquet() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingPart("a Parquet table", "tables") from None
    return pyarrow, pyarrow.parquet


def _write_parquet(table: Table, path: Path) -> None:
    arrow, parquet = _parquet()
    about = {"software": f"brushwork {__version__}", "units": dict(table.units)}
    fields = []
    for name, values in table.columns.items():
        unit = {"unit": table.units[name]} if name in table.units else None
        fields.append(arrow.field(name, arrow.array(values).type, metadata=unit))
    schema = arrow.schema(fields, metadata={"brushwork": json.dumps(about)})
    arrays = [arrow.array(values) for values in table.columns.values()]
    parquet.write_table(arrow.table(arrays, schema=schema), path)


def _read_parquet(path: Path) -> Table:
    arrow, parquet = _parquet()
    try:
        read = parquet.read_table(path)
    except (arrow.ArrowException, OSError) as error:
        raise not_readable(path, "a Parquet table", error) from error
    units = {f.name: f.metadata[b"unit"].decode() for f in read.schema if f.metadata and b"unit" in f.metadata}
    return Table({name: read[name].to_numpy() for name in read.column_names}, units)
