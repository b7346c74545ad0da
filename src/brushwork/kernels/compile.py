"""How kernels are compiled and where the machine code is kept.

`@kernel` is numba's `njit` without the GIL, without fast-math (the same input gives the same bits wherever a tile lies)
and with a cache of its own. numba's cache looks only at the file of the function that is called; a kernel here is made of
several files, so the folder's name holds a hash of all of them, of numba's version and of Python's.
"""

import hashlib
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Hashable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numba
from numba import njit
from numba.core.caching import CompileResultCacheImpl, FunctionCache, NullCache, _CacheLocator

log = logging.getLogger("brushwork.compile")
OPTIONS = {"nogil": True, "boundscheck": False, "error_model": "numpy"}


def cache_root() -> Path:
    """The folder of all versions' machine code: `BRUSHWORK_CACHE_DIR`, else the platform's cache folder."""
    if named := os.environ.get("BRUSHWORK_CACHE_DIR"):
        return Path(named)
    home = Path(os.path.expanduser("~"))  # where nobody is at home, "~" stays, and cannot be written
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "brushwork"


@lru_cache
def cache_folder() -> Path | None:
    """The folder of this version's machine code, or None where it cannot be written."""
    sources = hashlib.sha256(f"{numba.__version__} {sys.version}".encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        sources.update(path.read_bytes())
    if str(cache_root()).startswith("~"):
        return None
    folder = cache_root() / f"kernels-{sources.hexdigest()[:16]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return None
    return folder


class _Locator(_CacheLocator):
    def __init__(self, py_func: Any, py_file: str) -> None:
        self._module = Path(py_file).stem

    def get_cache_path(self) -> str:
        return str(cache_folder())

    def get_source_stamp(self) -> str:
        return "in the folder's name"

    def get_disambiguator(self) -> str:
        return self._module

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> "_Locator":
        return cls(py_func, py_file)


class _Impl(CompileResultCacheImpl):
    _locator_classes = [_Locator]  # noqa: RUF012  numba's name and form


class _KernelCache(FunctionCache):
    """numba's cache with two changes: the key holds `variant` instead of closure contents, and a miss is told."""

    _impl_class = _Impl

    def __init__(self, py_func: Any, variant: Hashable) -> None:
        self.variant = variant
        super().__init__(py_func)

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        return sig, codegen.magic_tuple(), repr(self.variant)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        found = super().load_overload(sig, target_context)
        if found is None:
            log.info("compiling %s", self._py_func.__qualname__)
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError as error:  # a full disk must not stop the work that needed the kernel
            log.warning("%s could not be kept in %s: %s", self._py_func.__qualname__, cache_folder(), error)


def kernel(function: Callable | None = None, *, variant: Hashable = (), inline: str = "never") -> Any:
    """Compile `function` when it is first called, or load what an earlier run compiled.

    variant : what a function made in a factory was made for (it names the machine code together with the signature).
    inline : numba's option; "always" for the small ones that hand vectors to each other.
    """
    if function is None:
        return lambda f: kernel(f, variant=variant, inline=inline)
    compiled = njit(inline=inline, **OPTIONS)(function)
    if inline == "never":
        compiled._cache = _KernelCache(function, variant) if cache_folder() else NullCache()
    return compiled
