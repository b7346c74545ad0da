"""A table of numbers: columns of one length, and which rows to keep."""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from brushwork.errors import InputError, MissingPart, unknown

if TYPE_CHECKING:
    import pandas

COMPARE: dict[str, Callable] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
TOKEN = re.compile(
    r"\s*(?:(?P<mark>[<>=!]=|[<>()])|(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]))"
    r"""|(?P<name>[^\W\d][\w.-]*)|(?P<quoted>"[^"]*"|'[^']*'|`[^`]*`))"""
)
WANTED = 'give comparisons joined by "and" and "or", e.g. area >= 10 and "intensity_mean-raw" > 200'


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of one length. columns : {name: (n_rows,)}. units : of the columns that have one, e.g. {"area_um2": "um2"}.

    >>> table = Table({"label": np.array([1, 2, 3]), "area": np.array([4, 90, 7])})
    >>> table.where("area < 10 and label != 1")["label"]
    array([3])
    """

    columns: Mapping[str, NDArray]
    units: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", MappingProxyType(dict(self.columns)))
        object.__setattr__(self, "units", MappingProxyType(dict(self.units)))
        lengths = {name: len(values) for name, values in self.columns.items()}
        if len(set(lengths.values())) > 1:
            raise InputError(f"a table's columns have to be of one length; these were given: {lengths}")

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def __getitem__(self, name: str) -> NDArray:
        if name not in self.columns:
            raise unknown("column", name, self.columns)
        return self.columns[name]

    def chosen(self, rows: NDArray) -> "Table":
        """The rows for which `rows` (mask or positions) says so."""
        return Table({name: values[rows] for name, values in self.columns.items()}, self.units)

    def where(self, condition: str) -> "Table":
        """The rows for which a condition holds, e.g. "signal_to_background-raw > 2 and (area >= 10 or touches_border == 0)".

        Comparisons (< <= > >= == !=) of columns and numbers are joined by `and`, which binds first, and `or`. Names with spaces are
        put in quotes. Where a number is not known (NaN), only != holds. A column of text is compared with a word (== !=), e.g.
        "class == tumour". Raises InputError where the condition cannot be understood.
        """
        return self.chosen(_Condition(self, condition).holds())

    def to_pandas(self) -> "pandas.DataFrame":
        """The same as a pandas.DataFrame; needs the extra "tables"."""
        try:
            import pandas
        except ImportError:
            raise MissingPart("a table for pandas", "tables") from None
        return pandas.DataFrame(dict(self.columns))


class _Condition:
    """Reads a condition from left to right, once; what is left of it changes."""

    def __init__(self, table: Table, text: str) -> None:
        self._table, self._text, self._at = table, text, 0

    def holds(self) -> NDArray[np.bool_]:
        found = self._either()
        if self._peek():
            raise self._wrong(f"{self._peek()!r} was not expected there")
        return found

    def _either(self) -> NDArray[np.bool_]:
        found = self._both()
        while self._peek() == "or":
            self._next()
            found = found | self._both()
        return found

    def _both(self) -> NDArray[np.bool_]:
        found = self._comparison()
        while self._peek() == "and":
            self._next()
            found = found & self._comparison()
        return found

    def _comparison(self) -> NDArray[np.bool_]:
        if self._peek() == "(":
            self._next()
            found = self._either()
            if self._next() != ")":
                raise self._wrong("a ( is not closed")
            return found
        name = self._peek()
        left, how = self._value(), self._next()
        is_text = isinstance(left, np.ndarray) and left.dtype.kind not in "biuf"
        known = ("==", "!=") if is_text else tuple(COMPARE)
        if how not in known:
            raise self._wrong(f"{how or 'nothing'!r} stands where one of {' '.join(known)} is wanted")
        right = self._word(f"a word to compare {name} with") if is_text else self._value()
        if isinstance(right, np.ndarray) and right.dtype.kind not in "biuf":
            raise self._wrong("a column of text has to stand on the left")
        return np.broadcast_to(COMPARE[how](left, right), len(self._table))

    def _value(self) -> NDArray | int | float:
        match = self._match()
        word = self._word("a column or a number")
        if match is not None and match["number"]:
            return float(word) if re.search(r"[.eE]", word) else int(word)
        values = self._table[word]
        if values.dtype.kind not in "biufOUT":
            raise self._wrong(f"the column {word} holds neither numbers nor text")
        return values

    def _word(self, wanted: str) -> str:
        """What stands next, without quotes."""
        match = self._match()
        token = self._next()
        if match is None or match["mark"] or token in ("and", "or"):
            raise self._wrong(f"{token or 'nothing'!r} stands where {wanted} is wanted")
        return token[1:-1] if match["quoted"] else token

    def _match(self) -> re.Match[str] | None:
        match = TOKEN.match(self._text, self._at)
        if match is None and self._text[self._at :].strip():
            raise self._wrong(f"{self._text[self._at :].strip()!r} cannot be read")
        return match

    def _peek(self) -> str:
        match = self._match()
        return match[0].strip() if match else ""

    def _next(self) -> str:
        match = self._match()
        self._at = match.end() if match else self._at
        return match[0].strip() if match else ""

    def _wrong(self, reason: str) -> InputError:
        return InputError(f"the condition {self._text!r} cannot be understood: {reason}; {WANTED}")
