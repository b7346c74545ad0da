"""Micrometres, from the many ways in which files write units of length."""

import re

UM_PER_UNIT = {
    "pm": 1e-6,
    "angstrom": 1e-4,
    "nm": 1e-3,
    "um": 1.0,
    "mm": 1e3,
    "cm": 1e4,
    "dm": 1e5,
    "m": 1e6,
    "inch": 25400.0,
}
SYNONYMS = {
    "picometer": "pm",
    "å": "angstrom",
    "nanometer": "nm",
    "micrometer": "um",
    "micron": "um",
    "millimeter": "mm",
    "centimeter": "cm",
    "decimeter": "dm",
    "meter": "m",
    "in": "inch",
}
MICRO = re.compile(r"[\u00b5\u03bc]|\\u00b5|\\u03bc", re.IGNORECASE)


def um_per(unit: str | None) -> float | None:
    """Micrometres in one `unit`; None for pixels and for what is no unit of length.

    >>> um_per("nm"), um_per("Micrometer"), um_per("pixel")
    (0.001, 1.0, None)
    """
    # Letters only: one writer stores "('cm',)"; another stores the micro sign as six ASCII characters.
    letters = re.sub(r"[^a-zå]", "", MICRO.sub("u", unit or "").lower())
    for spelling in (letters, letters.removesuffix("s"), letters.replace("metre", "meter").removesuffix("s")):
        name = SYNONYMS.get(spelling, spelling)
        if name in UM_PER_UNIT:
            return UM_PER_UNIT[name]
    return None


def to_um(value: float | None, unit: str | None) -> float | None:
    """A length in micrometres; None where it is absent, not positive or of no known unit."""
    factor = um_per(unit)
    if value is None or factor is None or not 0 < value < float("inf"):
        return None
    return value * factor
