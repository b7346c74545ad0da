"""Spoil small valid files at random, use each as a user would (hostile.py), and keep what does more than be opened or refused.

Run by hand; what it finds belongs into tests/corpus, which test_hostile_files.py reads:

    PYTHONPATH=tests python tests/long/fuzz.py --minutes 10 --seed 1 [--kinds ilp,bwm] [--out FOLDER]

A spoiled file is a base, and a list of operations with a seed each: the same seeds spoil alike, and a finding is made smaller by
leaving operations out. Bases are written here; real projects join them where BRUSHWORK_TEST_DATA names a folder.
"""

import argparse
import gzip
import json
import os
import re
import shutil
import struct
import tempfile
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import h5py
import numpy as np
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

import hostile
from brushwork.classifier import FORMAT, _digest
from brushwork.estimators import estimator
from brushwork.exchange import export_labels
from brushwork.features import FeatureSet
from brushwork.image import as_image
from brushwork.io import write_labels
from brushwork.journal import Record, encoded, read_records
from brushwork.labels import from_array
from brushwork.project import Project
from brushwork.training import train
from hostile import DEEP, FLAT
from ilp_files import IDS, axistags, random_forests, write_ilp

LARGEST_BASE = 3 << 20  # bytes; larger projects are not worth the time
EXTREMES = (0, 1, 2, 7, 15, *(1 << n for n in (7, 15, 31, 40)), *((1 << n) - 1 for n in (7, 8, 15, 16, 31, 32, 63, 64)))
ODD_NUMBERS = (
    *(0, 1, -1, 2, 3, 255, 256, 65536, 1 << 31, -(1 << 31), 1 << 40, 1 << 63, 1 << 70),
    *(0.5, 1e-300, 1e300, float("nan"), float("inf")),
)
ODD_TEXTS = (
    *("", "a", "\0", "a\0b", "\u00e9\udcff", "\u202e", "[bold]", "%s%n", "{nickname}" * 50, "x" * 100_000),
    *(
        "../../x",
        "/dev/zero",
        "/dev/stdin",
        "/proc/self/mem",
        ".",
        "/",
        "*",
        "~",
        "C:\\x",
        "http://localhost:1/x",
        "zarr://x",
    ),
    *("image.npy", "image.npy;stack.tif", "small.ilp/Input Data"),
    *("[0:1]", "[0:99999999999,0:99999999999]", "{", "[" * 5000, "tzyxc", "yx", "qq", "nan", "1e999", "NaN"),
    *("all", "gaussian:1", "gaussian:1e9"),
)
Spoiler = Callable[[Path, Random], None]


class Recipe(NamedTuple):
    base: str
    operations: tuple[tuple[str, int], ...]  # name, seed


# ---------------------------------------------------------------- bases


def make_bases(folder: Path) -> dict[str, Path]:
    """Valid files of every kind, by a name that tells the suffix."""
    labels = np.array([[0, 1, 1], [2, 0, 0]], np.uint8)
    chosen = {IDS[0]: (0.3, 1.0), IDS[4]: (1.6,)}
    common = {"blocks": (((4, 5), labels), ((10, 10), labels)), "label_axes": "yx", "chosen": chosen}
    forests = {"forests": random_forests(0, (1, 2), 4, 2, depth=3)}
    write_ilp(folder / "small.ilp", **common, in_2d=True, **forests)
    write_ilp(
        folder / "old.ilp",
        **common | {"blocks": (((4, 5, 0), labels[..., None]),), "label_axes": None},
        version="1.2.0",
        **forests,
    )
    write_ilp(folder / "untrained.ilp", **common, in_2d=True)
    write_ilp(folder / "embedded.ilp", **common, in_2d=True, embedded=FLAT, **forests)
    deep = {
        "axes": "zyx",
        "shape": DEEP.shape,
        "file_path": "stack.tif",
        "label_axes": "zyx",
        "blocks": (((1, 4, 5), labels[None]),),
    }
    write_ilp(folder / "deep.ilp", **common | deep, in_2d=True, **forests)
    write_ilp(folder / "context.ilp", **common, in_2d=True, workflow="AutocontextTwoStage", **forests)
    second = random_forests(2, (1, 2), 12, 2, depth=3)
    write_ilp(folder / "context.ilp", **common, in_2d=True, forests=second, suffix="01")
    with h5py.File(folder / "small.ilp", "a") as file:
        export = file.create_group("Prediction Export")
        export["OutputFormat"], export["OutputFilenameFormat"] = b"compressed hdf5", "{dataset_dir}/{nickname}_r"
        export["RegionStart"], export["RegionStop"], export["ExportDtype"] = [0, 0, 0], [20, 30, 1], b"uint8"

    painted = np.zeros(FLAT.shape, np.uint8)
    painted[2:5, 2:9], painted[12:15, 2:9] = 1, 2
    image = as_image(FLAT)
    examples, features = [(image, from_array(painted))], FeatureSet.parse("gaussian:0.3,1")
    forest = estimator("sklearn:RandomForestClassifier", n_estimators=3)
    small = {"symmetric": estimator("symmetric-forest", trees=3, depth=3), "trees": forest}
    for name, recipe in small.items():
        train(examples, features, classes=("a", "b"), estimator=recipe).save(folder / f"{name}.bwm")

    np.save(folder / "image.npy", FLAT)
    with Project.create(folder / "project.brushwork") as project:
        entry = project.add_image(folder / "image.npy")
        task = project.add_task("task").name
        ids = [project.add_class(task, name).id for name in ("cell", "other")]
        for k in range(6):
            rows = np.argwhere(painted == 1 + k % 2)[k::7]
            project.paint(task, entry.id, ids[k % 2], rows)
        project.undo(task, entry.id)
        project.change_task(task, features="gaussian:0.3,1")
        project.snapshot()
        project.paint(task, entry.id, ids[0], np.argwhere(painted == 1))
        project.train(task)
        shutil.copy(folder / "symmetric.bwm", next((project.folder / "models").iterdir()))  # it is small
        for suffix in (".geojson", ".tif", ".h5", ".nii", ".nii.gz", ".png"):
            export_labels(project, folder / f"flat{suffix}", image=entry.id)
    painted_deep = np.zeros(DEEP.shape, np.uint8)
    painted_deep[1:3, 2:5, 2:9] = 1
    for suffix in (".nii", ".tif", ".h5", ".geojson"):
        write_labels(
            from_array(painted_deep), as_image(DEEP), folder / f"deep{suffix}", names={1: "cell"}, colors={1: "#ff0000"}
        )
    import tifffile

    tifffile.imwrite(folder / "tiled.tif", painted, tile=(16, 16), compression="zlib", metadata=None)
    tifffile.imwrite(
        folder / "imagej.tif", painted_deep, imagej=True, metadata={"axes": "ZYX", "unit": "um", "spacing": 2.0}
    )
    (folder / "image.npy").unlink()
    with h5py.File(folder / "packed.h5", "w") as file:
        made = file.create_dataset("data", data=painted, chunks=(8, 8), compression="gzip", shuffle=True)
        made.attrs["axistags"], made.attrs["element_size_um"] = axistags("yx"), [1.0, 1.0]
    return {path.name: path for path in sorted(folder.iterdir())}


def real_projects() -> dict[str, Path]:
    told = os.environ.get("BRUSHWORK_TEST_DATA")
    found = sorted(Path(told).rglob("*.ilp")) if told else []
    return {f"real{i}.ilp": path for i, path in enumerate(found) if path.stat().st_size < LARGEST_BASE}


# ---------------------------------------------------------------- bytes


def _somewhere(content: bytes, rng: Random) -> int:
    """A position; those that are not zero, and those near the beginning, come more often."""
    n, way = len(content), rng.random()
    if way < 0.3:
        return rng.randrange(min(n, 512))
    at = rng.randrange(n)
    if way < 0.9:
        for _ in range(200):
            if content[at]:
                break
            at = rng.randrange(n)
    return at


def _flip(content: bytearray, rng: Random) -> None:
    content[_somewhere(content, rng)] ^= 1 << rng.randrange(8)


def _byte(content: bytearray, rng: Random) -> None:
    content[_somewhere(content, rng)] = rng.choice((0, 1, 2, 3, 4, 0x7F, 0x80, 0xFE, 0xFF, rng.randrange(256)))


def _number(content: bytearray, rng: Random) -> None:
    """A length, a count or a place becomes an extreme one, or one that is nearly the same."""
    width = rng.choice((2, 4, 8))
    at = _somewhere(content, rng) // width * width
    order = "<" if rng.random() < 0.8 else ">"
    old = int.from_bytes(content[at : at + width], "little")
    value = rng.choice((*EXTREMES, old + 1, old - 1, old * 2, len(content), len(content) - at)) % (1 << 8 * width)
    content[at : at + width] = struct.pack(order + {2: "H", 4: "I", 8: "Q"}[width], value)


def _place(content: bytearray, rng: Random) -> None:
    """A number that looks like a place in the file becomes another such number: circles arise."""
    words = np.frombuffer(bytes(content), "<u8", len(content) // 8)
    numbers = np.flatnonzero((words >= 48) & (words < len(content))).tolist()
    if numbers:
        at = 8 * rng.choice(numbers)
        content[at : at + 8] = struct.pack("<Q", int(words[rng.choice(numbers)]))


def _run(content: bytearray, rng: Random) -> None:
    at, n = _somewhere(content, rng), rng.choice((4, 8, 16, 64, 512))
    content[at : at + n] = bytes([rng.choice((0, 0xFF, rng.randrange(256)))]) * len(content[at : at + n])


def _cut(content: bytearray, rng: Random) -> None:
    del content[rng.randrange(len(content)) :]


def _splice(content: bytearray, rng: Random) -> None:
    n = rng.choice((8, 16, 64, 256, 4096))
    start, at = rng.randrange(len(content)), rng.randrange(len(content))
    piece = content[start : start + n]
    if rng.random() < 0.5:
        content[at : at + len(piece)] = piece
    else:
        content[at:at] = piece


BYTES = (_flip, _byte, _number, _number, _place, _run, _cut, _splice)


def spoil_bytes(path: Path, rng: Random) -> None:
    content = bytearray(path.read_bytes())
    if content:
        rng.choice(BYTES)(content, rng)
    path.write_bytes(content)


def spoil_unpacked(path: Path, rng: Random) -> None:
    """Bytes below gzip."""
    content = bytearray(gzip.decompress(path.read_bytes()))
    rng.choice(BYTES)(content, rng)
    path.write_bytes(gzip.compress(bytes(content), 1))


def spoil_folder(path: Path, rng: Random) -> None:
    """Bytes of a file in a project's folder."""
    spoil_bytes(rng.choice([p for p in sorted(path.rglob("*")) if p.is_file()]), rng)


# ---------------------------------------------------------------- JSON


def odd_value(rng: Random) -> Any:
    number = rng.choice(ODD_NUMBERS)
    return rng.choice((None, True, [], {}, [[]], number, rng.choice(ODD_TEXTS), [number] * rng.choice((1, 3, 300))))


def spoiled_json(tree: Any, rng: Random) -> Any:
    """The tree with one place of it changed."""
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        for key in keys:
            places.append((node, key))
            walk(node[key])

    walk(tree)
    if not places or rng.random() < 0.03:
        return odd_value(rng)
    node, key = rng.choice(places)
    way = rng.random()
    if way < 0.6:
        old = node[key]
        near = [old + 1, -old, old * 1000] if isinstance(old, (int, float)) and not isinstance(old, bool) else []
        node[key] = rng.choice([odd_value(rng), odd_value(rng), *near])
    elif way < 0.75:
        del node[key]
    elif way < 0.9:
        other, from_key = rng.choice(places)
        node[key] = json.loads(json.dumps(other[from_key])) if from_key in other or isinstance(other, list) else None
    elif isinstance(node, list):
        node.extend(json.loads(json.dumps(node[: 1000 // len(node) + 1])) * rng.choice((1, 50)))
    else:
        node[rng.choice(ODD_TEXTS)] = odd_value(rng)
    return tree


def spoil_json(path: Path, rng: Random) -> None:
    text = json.dumps(spoiled_json(json.loads(path.read_text("utf-8")), rng))
    path.write_bytes(text.encode("utf-8", "surrogatepass"))


def spoil_model(path: Path, rng: Random) -> None:
    """Header or arrays of a model file, with a checksum that is right."""
    content = path.read_bytes()
    arrays = load_arrays(content)
    head = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    header = json.loads(head["__metadata__"][FORMAT])
    if rng.random() < 0.5:
        name = rng.choice(sorted(arrays))
        arrays[name] = spoiled_array(arrays[name], rng)
    else:
        header = spoiled_json(header, rng)
    if isinstance(header, dict) and "digest" in header:
        header["digest"] = _digest(arrays)
    path.write_bytes(save_arrays(arrays, {FORMAT: json.dumps(header)}))


def spoiled_array(array: np.ndarray, rng: Random) -> np.ndarray:
    way = rng.random()
    if way < 0.6 and array.size:
        array = array.copy()
        for _ in range(rng.choice((1, 1, 5))):
            where, value = rng.randrange(array.size), rng.choice(ODD_NUMBERS)
            if array.dtype.kind in "iu":
                limits = np.iinfo(array.dtype)
                near = int(array.flat[where]) + 1
                value = rng.choice((limits.min, limits.max, near, 0, 1, 2, 100, 1000, rng.randrange(array.size)))
                value = min(max(value, limits.min), limits.max)
            with suppress(OverflowError, ValueError):
                array.flat[where] = value
        return array
    if way < 0.75:
        return array.astype(rng.choice(("u1", "i1", "i4", "i8", "u8", "f4", "f8", "f2", "?")))
    if way < 0.85:
        return array[: len(array) // 2] if array.ndim else array
    if way < 0.92:
        return array.reshape(-1) if array.ndim != 1 else array[None]
    rows = np.atleast_1d(array)
    return rng.choice((np.concatenate([rows, rows]), rows[:0], np.zeros((0, 0), array.dtype)))


def spoil_records(path: Path, rng: Random) -> None:
    """Records of a project's journal or snapshots, whose checksums are right; or its project.json."""
    chosen = rng.choice(
        [path / "strokes.log", path / "strokes.log", *sorted((path / "snapshots").iterdir()), path / "project.json"]
    )
    if chosen.suffix == ".json":
        spoil_json(chosen, rng)
        return
    records, _ = read_records(chosen)
    if not records:
        return
    k = rng.randrange(len(records))
    way = rng.random()
    if way < 0.7:
        header = spoiled_json(json.loads(json.dumps(records[k].header)), rng)
        records[k] = Record(header, records[k].payload)
    elif way < 0.85:
        steps = np.frombuffer(zlib.decompress(records[k].payload), "<i4") if records[k].payload else np.zeros(3, "<i4")
        records[k] = Record(records[k].header, zlib.compress(spoiled_array(steps, rng).tobytes()))
    else:
        records.insert(rng.randrange(len(records)), records[k])
    chosen.write_bytes(b"".join(_framed(record) for record in records))


def _framed(record: Record) -> bytes:
    """As `journal.encoded`, of headers that are no objects too."""
    try:
        return encoded(record)
    except ValueError:
        return encoded(Record({}, b""))


# ---------------------------------------------------------------- HDF5


def spoil_hdf5(path: Path, rng: Random) -> None:
    with h5py.File(path, "a") as file, suppress(Exception):  # some ways do not suit some places
        rng.choice(HDF5)(file, rng)


def _items(file: h5py.File, kind: type = h5py.HLObject) -> list[Any]:
    found: list[Any] = []
    file.visititems(lambda _, item: found.append(item) if isinstance(item, kind) else None)
    return sorted(found, key=lambda item: item.name)


def _delete(file: h5py.File, rng: Random) -> None:
    del file[rng.choice(_items(file)).name]


def _put(file: h5py.File, name: str, **made: Any) -> None:
    marks = dict(file[name].attrs)
    del file[name]
    file.create_dataset(name, **made).attrs.update(marks)


def _values(file: h5py.File, rng: Random) -> None:
    item = rng.choice([d for d in _items(file, h5py.Dataset) if d.dtype.kind in "biuf"])
    _put(file, item.name, data=spoiled_array(np.atleast_1d(item[()]), rng))


def _text(file: h5py.File, rng: Random) -> None:
    item = rng.choice([d for d in _items(file, h5py.Dataset) if d.dtype.kind in "SO"])
    text = rng.choice(ODD_TEXTS).encode("utf-8", "surrogateescape").replace(b"\0", b"\x01")
    if "axis" in item.name and rng.random() < 0.7:
        with suppress(ValueError):
            text = json.dumps(spoiled_json(json.loads(item[()]), rng)).encode()
    _put(file, item.name, data=rng.choice((text.decode("utf-8", "replace"), np.bytes_(text), [text, text])))


def _type(file: h5py.File, rng: Random) -> None:
    """Any type, in any shape."""
    item = rng.choice(_items(file, h5py.Dataset))
    shape = rng.choice((item.shape, (), (1,), (3,), (2, 3), (0,), (1,) * 8, (1,) * 32))
    text = h5py.string_dtype()
    types: list[Any] = [
        *("u1", ">i2", "i8", "u8", "f2", "f8", "c8", "S1", "S0", "S100", "V3"),
        *(text, h5py.string_dtype("ascii", 7), h5py.vlen_dtype(np.int32), h5py.vlen_dtype(text)),
        *(h5py.ref_dtype, h5py.regionref_dtype, h5py.enum_dtype({"a": 1, "b": 2}, basetype="i4")),
        *(np.dtype([("a", "i4"), ("b", "f8")]), np.dtype([("a", text)]), np.dtype(("i4", (3,)))),
    ]
    _put(file, item.name, shape=shape, dtype=rng.choice(types))


def _nothing(file: h5py.File, rng: Random) -> None:
    _put(
        file,
        rng.choice(_items(file, h5py.Dataset)).name,
        data=h5py.Empty(rng.choice(("f4", "S3", h5py.string_dtype()))),
    )


def _huge(file: h5py.File, rng: Random) -> None:
    """Arrays that claim much and store little, with any filters."""
    item = rng.choice(_items(file, h5py.Dataset))
    n = rng.choice((1 << 10, 1 << 14, 1 << 20, 1 << 30, 1 << 40))
    ndim = rng.choice((1, 2, 3, len(item.shape or (1,)) or 1))
    shape = tuple(rng.choice((n, 3, 1 << 10)) for _ in range(ndim))
    chunks = tuple(min(a, rng.choice((1, 64, 1 << 10, 1 << 15))) for a in shape)
    filters = rng.choice(
        (("compression", "gzip"), ("compression", "lzf"), ("shuffle", True), ("fletcher32", True), ("scaleoffset", 0))
    )
    dtype = item.dtype if item.dtype.kind in "iuf" else rng.choice(("u1", "f8", "S64", h5py.string_dtype()))
    _put(file, item.name, shape=shape, dtype=dtype, chunks=chunks, **dict([filters]))


def _bomb(file: h5py.File, rng: Random) -> None:
    """A few kB that unpack to a lot."""
    item = rng.choice([d for d in _items(file, h5py.Dataset) if d.dtype.kind in "iuf"])
    shape = tuple(rng.choice(((1 << 12, 1 << 12), (1 << 20,), (1, 1 << 22), (1 << 9, 1 << 9, 1 << 5))))
    _put(file, item.name, data=np.full(shape, rng.choice((0, 1)), item.dtype), compression="gzip", chunks=True)


def _link(file: h5py.File, rng: Random) -> None:
    item, other = rng.choice(_items(file)), rng.choice(_items(file))
    name, target = item.name, rng.choice((other.name, other.parent.name, item.parent.name, "/", "/nowhere"))
    elsewhere = h5py.ExternalLink(rng.choice(("/etc/passwd", "small.ilp", "/dev/zero")), target)
    link = rng.choice((file.get(target), file.get(target), h5py.SoftLink(target), elsewhere))
    del file[name]
    file[name] = link


def _copy(file: h5py.File, rng: Random) -> None:
    item, other = rng.choice(_items(file)), rng.choice(_items(file))
    if rng.random() < 0.5:
        del file[other.name]
        file.copy(item, other.name)
    else:
        name = rng.choice(("x", "Forest0007", "Tree_99", "labels009", "lane0009", "block0009", "isEmpty"))
        file.copy(item, f"{other.parent.name}/{name}")


def _mark(file: h5py.File, rng: Random) -> None:
    item = rng.choice([*[i for i in _items(file) if len(i.attrs)], *_items(file)])
    name = rng.choice(
        [*item.attrs, "isEmpty", "blockSlice", "axistags", "element_size_um", "channel_names", "axis_units"]
    )
    if name == "axistags" and name in item.attrs and rng.random() < 0.5:
        value: Any = json.dumps(spoiled_json(json.loads(item.attrs[name]), rng))
    else:
        plain = rng.choice(ODD_NUMBERS), rng.choice(ODD_TEXTS), b"\xff", file.ref, h5py.Empty("f4")
        value = rng.choice((*plain, [1, 2], [b"a", b"b"], np.zeros((3, 3)), np.zeros(7000)))
    item.attrs[name] = value


def _elsewhere(file: h5py.File, rng: Random) -> None:
    item = rng.choice(_items(file, h5py.Dataset))
    if rng.random() < 0.5:
        place = (rng.choice(("/etc/passwd", "/dev/zero", "x")), 0, h5py.h5f.UNLIMITED)
        _put(file, item.name, shape=item.shape or (1,), dtype="u1", external=[place])
    else:
        layout = h5py.VirtualLayout(item.shape or (1,), "u1")
        layout[...] = h5py.VirtualSource(rng.choice((".", "/etc/passwd")), item.name, shape=item.shape or (1,))
        del file[item.name]
        file.create_virtual_dataset(item.name, layout)


def _named_type(file: h5py.File, rng: Random) -> None:
    item = rng.choice(_items(file))
    del file[item.name]
    file[item.name] = rng.choice((np.dtype("f8"), np.dtype([("a", "i4")])))


def _tree(file: h5py.File, rng: Random) -> None:
    """A node of a forest points somewhere else."""
    wanted = re.compile("topology|parameters|known_labels|_count_|Scales|shape")
    item = rng.choice([d for d in _items(file, h5py.Dataset) if wanted.search(d.name)])
    item[...] = spoiled_array(item[()], rng) if item.shape else odd_value(rng)


HDF5 = (
    _delete,
    _values,
    _values,
    _text,
    _text,
    _type,
    _type,
    _nothing,
    _huge,
    _bomb,
    _link,
    _copy,
    _mark,
    _mark,
    _elsewhere,
    _named_type,
    _tree,
    _tree,
)


# ---------------------------------------------------------------- the run

OPERATIONS: dict[str, Spoiler] = {
    "bytes": spoil_bytes,
    "unpacked": spoil_unpacked,
    "folder": spoil_folder,
    "json": spoil_json,
    "model": spoil_model,
    "records": spoil_records,
    "hdf5": spoil_hdf5,
}
SUITED = {
    ".ilp": ("hdf5", "bytes"),
    ".h5": ("hdf5", "bytes"),
    ".bwm": ("model", "model", "bytes"),
    ".brushwork": ("records", "records", "folder"),
    ".geojson": ("json", "json", "json", "bytes"),
    ".gz": ("unpacked", "unpacked", "bytes"),
}
SHARES = {"ilp": 5, "labels": 3, "bwm": 1.5, "brushwork": 1.5}  # of the time


def new_recipe(bases: dict[str, Path], kind: str, rng: Random) -> Recipe:
    mine = [n for n in bases if Path(n).suffix[1:] == kind or (kind == "labels" and Path(n).suffix[1:] not in SHARES)]
    base = rng.choice(mine)
    way = rng.choice(SUITED.get(Path(base).suffix, ("bytes",)))
    return Recipe(base, tuple((way, rng.getrandbits(32)) for _ in range(rng.choice((1, 1, 2, 3, 6)))))


def cooked(recipe: Recipe, bases: dict[str, Path], folder: Path) -> Path | None:
    """The spoiled file; None where an operation was too much for what the others left."""
    path = folder / recipe.base
    if path.is_dir():
        shutil.rmtree(path)
    (shutil.copytree if bases[recipe.base].is_dir() else shutil.copy)(bases[recipe.base], path)
    try:
        for name, seed in recipe.operations:
            OPERATIONS[name](path, Random(seed))
    except (ValueError, OSError, KeyError, IndexError, TypeError, OverflowError, AttributeError, EOFError, zlib.error):
        return None
    return path


def signature(outcome: hostile.Outcome) -> str:
    """What findings that are one have in common."""
    kind, _, place = outcome.told.partition(": ") if outcome.kind == "defect" else (outcome.told, "", "")
    return (
        f"{outcome.kind} {kind} {place.rpartition('@ ')[2]}"
        if outcome.kind == "defect"
        else f"{outcome.kind} {kind[:200]}"
    )


def smaller(recipe: Recipe, bases: dict[str, Path], folder: Path, wanted: str) -> Recipe:
    """The recipe without the operations that the finding does not need."""
    for operation in recipe.operations:
        shorter = Recipe(recipe.base, tuple(o for o in recipe.operations if o != operation))
        path = cooked(shorter, bases, folder)
        if path is not None and signature(hostile.tried(path)) == wanted:
            recipe = shorter
    return recipe


def run(minutes: float, seed: int, kinds: list[str], out: Path) -> None:
    rng = Random(seed)
    hostile.warm()
    with tempfile.TemporaryDirectory() as made, tempfile.TemporaryDirectory() as work:
        bases = make_bases(Path(made)) | real_projects()
        for name, path in bases.items():
            sound = hostile.tried(path)
            print(
                f"{name}: {sound.kind} {sound.told[:200]} ({sound.seconds:.2f} s, {sound.n_bytes >> 20} MB)", flush=True
            )
        counts: Counter[str] = Counter()
        found: dict[str, int] = {}
        spent = dict.fromkeys(kinds, 0.0)
        end = time.monotonic() + 60 * minutes
        while (now := time.monotonic()) < end:
            kind = min(kinds, key=lambda k: spent[k] / SHARES[k])
            recipe = new_recipe(bases, kind, rng)
            path = cooked(recipe, bases, Path(work))
            if path is not None:
                outcome = hostile.tried(path)
                counts[f"{kind} {outcome.kind}"] += 1
                if not outcome.is_fine:
                    mark = signature(outcome)
                    found[mark] = found.get(mark, 0) + 1
                    if found[mark] == 1:
                        _keep(recipe, bases, Path(work), outcome, mark, out / f"{seed}-{len(found):02d}")
            spent[kind] += time.monotonic() - now
        print(json.dumps(dict(sorted(counts.items()))), sum(counts.values()), "inputs")
        for mark, n in sorted(found.items(), key=lambda pair: -pair[1]):
            print(f"{n:5} x {mark}")


def _keep(recipe: Recipe, bases: dict[str, Path], work: Path, outcome: hostile.Outcome, mark: str, place: Path) -> None:
    small = smaller(recipe, bases, work, mark)
    path = cooked(small, bases, work)
    assert path is not None
    place.mkdir(parents=True, exist_ok=True)
    (shutil.copytree if path.is_dir() else shutil.copy)(path, place / path.name)
    (place / "why.txt").write_text(
        f"{outcome.kind}\n{outcome.told}\n{outcome.seconds:.1f} s, {outcome.n_bytes >> 20} MB\n{small}\n"
    )
    print(f"{place}: {mark}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", default=",".join(SHARES))
    parser.add_argument("--out", type=Path, default=Path("findings"))
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    run(given.minutes, given.seed, given.kinds.split(","), given.out)
