"""Tables on the disk: what is read is what was written, and what carries the name is complete."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brushwork.errors import InputError, MissingPart
from brushwork.io.tables import read_table, write_table
from brushwork.table import Table

TABLE = Table(
    {
        "label": np.array([1, 2, 2**62 + 1]),
        "area_um2": np.array([0.1, 1 / 3, np.nan]),
        "touches_border": np.array([True, False, True]),
        "intensity_mean-raw, two": np.array([1.0, 2.0, 3e300]),
    },
    {"area_um2": "um2"},
)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_what_is_written_is_read(tmp_path, suffix):
    path = tmp_path / f"cells.{suffix}"
    write_table(TABLE, path)
    back = read_table(path)
    assert list(back.columns) == list(TABLE.columns)
    for name, values in TABLE.columns.items():
        np.testing.assert_array_equal(back[name], values)
        assert back[name].dtype == values.dtype
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@given(st.lists(st.floats(), min_size=1))
def test_csv_keeps_every_digit(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("tables") / "t.csv"
    write_table(Table({"a": np.array(values)}), path)
    np.testing.assert_array_equal(read_table(path)["a"], values)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_an_empty_table_keeps_its_columns(tmp_path, suffix):
    path = tmp_path / f"none.{suffix}"
    write_table(TABLE.chosen(np.zeros(0, int)), path)
    back = read_table(path)
    assert len(back) == 0
    assert list(back.columns) == list(TABLE.columns)
    if suffix == "parquet":
        assert [v.dtype for v in back.columns.values()] == [v.dtype for v in TABLE.columns.values()]


def test_parquet_says_units_and_software(tmp_path):
    from pyarrow import parquet

    path = tmp_path / "cells.parquet"
    write_table(TABLE, path)
    assert dict(read_table(path).units) == {"area_um2": "um2"}
    about = parquet.read_schema(path).metadata[b"brushwork"]
    assert b"brushwork" in about
    assert b'"area_um2": "um2"' in about


def test_pandas_reads_both(tmp_path):
    import pandas

    for suffix, read in (("csv", pandas.read_csv), ("parquet", pandas.read_parquet)):
        path = tmp_path / f"cells.{suffix}"
        write_table(TABLE, path)
        frame = read(path)
        assert frame.label.tolist() == TABLE["label"].tolist()
        assert frame.touches_border.dtype == bool
        assert np.isnan(frame.area_um2[2])


def test_a_table_that_is_there_is_not_overwritten(tmp_path):
    path = tmp_path / "cells.csv"
    path.write_text("mine")
    with pytest.raises(InputError, match="overwrite"):
        write_table(TABLE, path)
    assert path.read_text() == "mine"
    write_table(TABLE, path, overwrite=True)
    assert len(read_table(path)) == 3


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("cells.xlsx", b"", "tables are .csv or .parquet"),
        ("cells.csv", None, "does not exist"),
        ("cells.csv", b"a,b\n1,2\n3\n", "row 3 has 1 fields"),
        ("cells.csv", b"a,a\n1,2\n", "one name"),
        ("cells.csv", b"a,b\n\xff\xfe,2\n", "is not text"),
        ("cells.parquet", b"PAR1 and nothing more", "Parquet"),
    ],
)
def test_what_is_no_table_is_said(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_table(path)


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingPart, match=r"brushwork\[tables\]"):
        write_table(TABLE, tmp_path / "cells.parquet")
    assert not list(tmp_path.iterdir())
    write_table(TABLE, tmp_path / "cells.csv")


def test_csv_of_other_programs(tmp_path):
    path = tmp_path / "other.csv"
    path.write_bytes("\ufeffname,size,count\r\nnéuron,,1\r\n\r\nglia,2.5,2\r\n".encode())
    table = read_table(path)
    assert table["name"].tolist() == ["néuron", "glia"]
    np.testing.assert_array_equal(table["size"], [np.nan, 2.5])
    assert table["count"].dtype == np.int64
