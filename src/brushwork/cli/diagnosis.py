"""What `brushwork doctor` looks at."""

import importlib.metadata
import importlib.util
import os
import platform
import sys
import time
from typing import Any

from brushwork._version import __version__
from brushwork.blocks import available_threads
from brushwork.cli.console import human_bytes

OPTIONAL = {
    "scikit-learn": ("sklearn", "sklearn", "other estimators"),
    "imagecodecs": ("imagecodecs", "formats", "TIFF compressed with LZW, JPEG, Zstandard, ..."),
    "nibabel": ("nibabel", "formats", "NIfTI, for ITK-SNAP"),
    "jinja2": ("jinja2", "report", "brushwork report"),
}
CORE = ("numpy", "scipy", "numba", "tensorstore", "tifffile", "h5py", "pillow", "safetensors")


def diagnose() -> dict[str, list[tuple[str, Any]]]:
    """Facts by heading."""
    return {"machine": _machine(), "kernels": _kernels(), "parts": _parts()}


def _machine() -> list[tuple[str, Any]]:
    rows = [
        ("brushwork", f"{__version__}, Python {platform.python_version()} on {platform.system()} {platform.machine()}"),
        ("threads", f"{available_threads()} of {os.cpu_count()} processors"),
    ]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        page = os.sysconf("SC_PAGE_SIZE")
        free = page * os.sysconf("SC_AVPHYS_PAGES")
        rows.append(("memory", f"{human_bytes(page * os.sysconf('SC_PHYS_PAGES'))}, free {human_bytes(free)}"))
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "AMD64"):
        rows.append(("note", "tested on Linux x86-64; please report what does not work here"))
    return rows


def _kernels() -> list[tuple[str, Any]]:
    from brushwork.kernels.bytes64 import fast_path
    from brushwork.kernels.compile import cache_folder, cache_root

    folder = cache_folder()
    if folder is None:
        where = f"{cache_root()} cannot be written: kernels compile in every process; set BRUSHWORK_CACHE_DIR to a folder that can"
        return [("cache", where), ("forest", _path(fast_path()))]
    files = list(folder.glob("*.nbc"))
    size = human_bytes(sum(f.stat().st_size for f in files))
    rows: list[tuple[str, Any]] = [
        ("cache", f"{folder}: {len(files)} compiled, {size}"),
        ("forest", _path(fast_path())),
    ]
    began = time.perf_counter()
    _try_out()
    return [*rows, ("try-out", f"a 256 x 256 image trained and predicted in {time.perf_counter() - began:.2f} s")]


def _path(fast: bool) -> str:
    return (
        "vector path (AVX-512 VBMI)" if fast else "plain path: this processor lacks AVX-512 VBMI; same results, slower"
    )


def _try_out() -> None:
    import numpy as np

    from brushwork.image import as_image
    from brushwork.labels import from_array
    from brushwork.training import train

    pixels = np.random.default_rng(0).random((256, 256), np.float32)
    pixels[:, 128:] += 1
    strokes = np.zeros((256, 256), np.uint8)
    strokes[100:120, 20:40], strokes[100:120, 200:220] = 1, 2
    train([(as_image(pixels), from_array(strokes))]).predict_array(pixels)


def _parts() -> list[tuple[str, Any]]:
    rows = [(name, importlib.metadata.version(name)) for name in CORE]
    for name, (module, extra, purpose) in OPTIONAL.items():
        if importlib.util.find_spec(module):
            rows.append((name, importlib.metadata.version(name)))
        else:
            rows.append((name, f"missing, needed for {purpose}: pip install 'brushwork[{extra}]'"))
    return rows
