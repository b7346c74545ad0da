"""Predictions of stored images: complete or absent, resumed, and never dependent on how they were cut."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest

import brushwork as bw
from brushwork import jobs
from brushwork.errors import InputError, RunError
from brushwork.image import as_image
from brushwork.io import OmeZarrStore, aside, locks, run_folder
from brushwork.resample import Resampled
from brushwork.training import train
from painting import example


@pytest.fixture(scope="module")
def flat():
    image, labels, _ = example((90, 130), pixel_size=(0.5, 0.5))
    return train([(image, labels)], "fast", classes=["outside", "inside"]), image


@pytest.fixture(scope="module")
def solid():
    image, labels, _ = example((14, 30, 40))
    return train([(image, labels)], "gaussian:1 hessian:1"), image


def read(path, image, **options):
    stored = bw.open_image(path, **options)
    assert stored.shape == image.shape
    return stored, stored.read(bw.Region((0,) * len(image.shape), image.shape))


@pytest.mark.parametrize("suffix", [".ome.zarr", ".tif", ".h5", ".npy"])
@pytest.mark.parametrize("dtype", jobs.DTYPES)
def test_probabilities_are_what_the_model_says(flat, tmp_path, suffix, dtype):
    model, image = flat
    out = jobs.predict(model, image, tmp_path / f"out{suffix}", dtype=dtype)
    axes = {"axes": "cyx"} if suffix == ".npy" else {}
    stored, values = read(out, image, **axes)
    expected = model.predict_array(image.source)
    top = 1 if dtype == "float32" else np.iinfo(dtype).max
    np.testing.assert_array_equal(values, np.rint(expected * np.float32(top)) if top > 1 else expected)
    assert list(tmp_path.iterdir()) == [out]
    if suffix != ".npy":
        assert stored.pixel_size == (0.5, 0.5)
        assert stored.channel_names == ("outside", "inside")


@pytest.mark.parametrize("which", ["flat", "solid"])
def test_block_threads_and_memory_never_change_a_bit(which, tmp_path, request):
    model, image = request.getfixturevalue(which)
    _, expected = read(jobs.predict(model, image, tmp_path / "a.ome.zarr", dtype="float32"), image)
    ways = [{"block": 11}, {"block": 64, "threads": 3}, {"threads": 1, "memory": 1}]
    for i, way in enumerate(ways):
        _, values = read(jobs.predict(model, image, tmp_path / f"{i}.ome.zarr", dtype="float32", **way), image)
        np.testing.assert_array_equal(values, expected)


def test_segmentation_uncertainty_and_features(flat, tmp_path):
    model, image = flat
    p = model.predict_array(image.source)
    _, segmentation = read(jobs.predict(model, image, tmp_path / "s.ome.zarr", output="segmentation"), image)
    np.testing.assert_array_equal(segmentation[0], p.argmax(0) + 1)
    _, doubt = read(jobs.predict(model, image, tmp_path / "u.tif", output="uncertainty", dtype="uint16"), image)
    np.testing.assert_allclose(doubt[0] / 65535, 1 - abs(p[0] - p[1]), atol=1 / 65535)
    stored, maps = read(jobs.predict(model, image, tmp_path / "f.ome.zarr", output="features"), image)
    np.testing.assert_array_equal(maps, model.features.at(image, model.block(image, bw.Region((0, 0), image.shape))))
    assert stored.channel_names == model.features.names


def test_arg_max_is_taken_before_quantising_and_ties_go_to_the_lower_class():
    p = np.array([[0.5, 0.4999], [0.5, 0.5001]], np.float32)
    assert jobs.stored_values(p, "segmentation", np.dtype("uint8")).tolist() == [[1, 2]]
    assert jobs.quantised(np.array([0, 0.5, 0.999, 1], np.float32), "uint8").tolist() == [0, 128, 255, 255]


def test_frames_survive(flat, tmp_path):
    model, image = flat
    movie = as_image(np.stack([image.source, image.source[::-1]]), axes="tyx")
    out = jobs.predict(model, movie, tmp_path / "m.ome.zarr", dtype="float32")
    stored = bw.open_image(out)
    assert stored.n_frames == 2
    np.testing.assert_array_equal(
        stored.read(bw.Region((0, 0), image.shape, 1)), model.predict_array(image.source[::-1])
    )


def test_masked_pixels_are_left_out(flat, tmp_path):
    model, image = flat
    mask = np.zeros(image.shape, np.uint8)
    mask[10:20, 30:70] = 3
    out = jobs.predict(model, image, tmp_path / "s.ome.zarr", output="segmentation", ignore=as_image(mask))
    _, segmentation = read(out, image)
    np.testing.assert_array_equal(segmentation[0] == 0, mask != 0)
    with pytest.raises(InputError, match="of one size"):
        jobs.predict(model, image, tmp_path / "t.ome.zarr", ignore=as_image(mask[:50]))


class Interrupted(Exception):
    pass


def test_an_interrupted_run_looks_unfinished_and_continues(solid, tmp_path, monkeypatch):
    model, _ = solid
    rng = np.random.default_rng(1)
    image = as_image(rng.normal(100, 30, (40, 300, 280)).astype(np.float32))
    out = tmp_path / "out.ome.zarr"
    computed = []
    values = jobs._Task.values

    def counted(self, region):
        computed.append(region)
        if len(computed) == 20:
            raise Interrupted
        return values(self, region)

    monkeypatch.setattr(jobs._Task, "values", counted)
    with pytest.raises(Interrupted):
        jobs.predict(model, image, out, block=64, threads=1)
    assert not out.exists()
    assert (tmp_path / "out.ome.zarr.run" / "plan.json").exists()
    with pytest.raises(InputError, match="another output"):
        jobs.predict(model, image, out, block=64, output="segmentation")
    with pytest.raises(InputError, match="another image"):
        jobs.predict(model, as_image(image.source + 1), out, block=64)
    before = len(computed)
    jobs.predict(model, image, out, block=64)
    assert len(computed) - before < 25  # of 25 blocks, the finished shard's are not computed again
    _, continued = read(out, image)
    _, at_once = read(jobs.predict(model, image, tmp_path / "b.ome.zarr"), image)
    np.testing.assert_array_equal(continued, at_once)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.ome.zarr", "out.ome.zarr"]


def test_a_complete_output_is_refused_without_overwrite(flat, tmp_path):
    model, image = flat
    out = jobs.predict(model, image, tmp_path / "out.ome.zarr")
    with pytest.raises(InputError, match="exists already"):
        jobs.predict(model, image, out)
    jobs.predict(model, image, out, output="segmentation", overwrite=True)
    assert bw.open_image(out).dtype == np.uint8


@pytest.mark.parametrize("suffix", [".ome.zarr", ".npy"])
def test_a_full_disk_is_told_and_leaves_nothing_that_looks_complete(flat, tmp_path, suffix):
    model, _ = flat
    image = as_image(np.random.default_rng(0).normal(100, 40, (700, 700)).astype(np.float32), pixel_size=(0.5, 0.5))
    out = tmp_path / f"out{suffix}"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        with pytest.raises(RunError, match="out"):
            jobs.predict(model, image, out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert not out.exists()
    jobs.predict(model, image, out)
    assert out.exists()


def test_places_that_cannot_be_written_and_unknown_words(flat, tmp_path):
    model, image = flat
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be written"):
        jobs.predict(model, image, tmp_path / "file" / "out.ome.zarr")
    for change, said in [
        ({"output": "maps"}, "known: prob"),
        ({"dtype": "int8"}, "known: uint8"),
        ({"block": 2}, "smallest is 8"),
    ]:
        with pytest.raises(InputError, match=said):
            jobs.predict(model, image, tmp_path / "o.ome.zarr", **change)
    with pytest.raises(InputError, match="format of an output"):
        jobs.predict(model, image, tmp_path / "o.jpg")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_nan_pixels_are_told_with_their_place(flat, tmp_path):
    model, image = flat
    pixels = image.source.copy()
    pixels[7, 9] = np.inf
    with pytest.raises(InputError, match=r"inf at \(7, 9\)"):
        jobs.predict(model, as_image(pixels), tmp_path / "o.ome.zarr")


def test_another_pixel_size_is_an_error_or_resampled(flat, tmp_path):
    model, image = flat
    large = as_image(np.repeat(np.repeat(image.source, 2, 0), 2, 1), pixel_size=(0.25, 0.25))
    with pytest.raises(InputError, match="--resample"):
        jobs.predict(model, large, tmp_path / "o.ome.zarr")
    out = jobs.predict(model, large, tmp_path / "o.ome.zarr", output="segmentation", resample=True)
    _, segmentation = read(out, large)
    _, expected = read(jobs.predict(model, image, tmp_path / "e.ome.zarr", output="segmentation"), image)
    assert (segmentation[0, ::2, ::2] == expected[0]).mean() > 0.97
    again = jobs.predict(model, large, tmp_path / "p.ome.zarr", output="segmentation", resample=True, block=33)
    np.testing.assert_array_equal(read(again, large)[1], segmentation)


def test_what_is_assumed_of_a_pixel_size_is_noted(flat):
    model, image = flat
    unknown = as_image(image.source, uri="x.tif")
    assert "x.tif is unknown; taken as the model's, 0.5 x 0.5 um" in jobs.pixel_size_note(
        model, unknown, resample=False
    )
    assert jobs.pixel_size_note(model, image, resample=False) == ""
    assert jobs.pixel_size_note(replace(model, pixel_size=None), unknown, resample=False) == ""
    assert "--resample changes nothing" in jobs.pixel_size_note(model, image, resample=True)
    other = as_image(image.source, pixel_size=(0.25, 0.25))
    assert jobs.pixel_size_note(model, other, resample=True) == ""


def test_memory_settles_the_block(flat):
    model, image = flat
    plenty = jobs.block_edge(model, image, jobs.Settings())
    little = jobs.block_edge(model, image, jobs.Settings(memory=1))
    assert plenty == jobs.EDGES[2][0] > little == jobs.EDGES[2][-1]


def test_records_of_runs(tmp_path):
    model, settings = tmp_path / "m.bwm", jobs.Settings()
    jobs.record(tmp_path, model, settings, {"image": "/a", "output": "a.ome.zarr", "model_hash": "1", "seconds": 1})
    jobs.record(tmp_path, model, settings, {"image": "/a", "output": "a.ome.zarr", "model_hash": "2", "seconds": 1})
    assert [e["model_hash"] for e in jobs.read_record(tmp_path)["images"]] == ["2"]
    target = tmp_path / "a.ome.zarr"
    assert not jobs.is_recorded(target, [target], "/a", {})  # nothing is there
    (tmp_path / jobs.RECORD).write_text(json.dumps([1]))
    with pytest.raises(InputError, match="not the record"):
        jobs.read_record(tmp_path)


class Killed(BaseException):
    """Stands for a kill: nothing of ours catches it."""


def killed_in(monkeypatch, where, name, *, after=False):
    """Make a function end the process, so to speak, before or after its work."""
    real = getattr(where, name)

    def dies(*args, **options):
        if after:
            real(*args, **options)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(where, name, dies)
        yield


@pytest.fixture
def kill(monkeypatch):
    from contextlib import contextmanager

    @contextmanager
    def context(*args, **options):
        with pytest.raises(Killed), contextmanager(killed_in)(monkeypatch, *args, **options):
            yield

    return context


def test_markers_without_their_store_are_not_believed(flat, tmp_path, kill):
    model, image = flat
    out = tmp_path / "out.ome.zarr"
    with kill(run_folder, "replace", after=True):
        jobs.predict(model, image, out)
    expected = read(out, image)[1]
    assert (tmp_path / "out.ome.zarr.run" / "done" / "0").exists()
    shutil.rmtree(out)
    jobs.predict(model, image, out)
    np.testing.assert_array_equal(read(out, image)[1], expected)
    assert expected.any()
    assert sorted(tmp_path.iterdir()) == [out]


def test_killed_between_array_and_metadata_it_begins_again(flat, tmp_path, kill):
    model, image = flat
    out = tmp_path / "out.ome.zarr"
    with kill(OmeZarrStore, "_write_metadata"):
        jobs.predict(model, image, out)
    assert (tmp_path / "out.ome.zarr.run" / "data.ome.zarr" / "0").exists()
    assert read(jobs.predict(model, image, out), image)[1].any()


def test_what_is_overwritten_is_whole_until_it_is_replaced(flat, tmp_path, kill):
    model, image = flat
    out = jobs.predict(model, image, tmp_path / "out.ome.zarr")
    before = read(out, image)[1]
    with kill(aside, "remove"):
        jobs.predict(model, image, out, output="segmentation", overwrite=True)
    assert set(np.unique(read(out, image)[1])) == {1, 2}
    with kill(run_folder, "replace"):
        jobs.predict(model, image, out, overwrite=True)
    assert set(np.unique(read(out, image)[1])) == {1, 2}
    jobs.predict(model, image, out, overwrite=True)
    np.testing.assert_array_equal(read(out, image)[1], before)
    assert sorted(tmp_path.iterdir()) == [out]


def test_overwrite_continues_an_unfinished_run_of_the_same_plan(flat, tmp_path, kill, monkeypatch):
    model, image = flat
    out = jobs.predict(model, image, tmp_path / "out.ome.zarr", output="segmentation")
    with kill(run_folder.RunFolder, "finish"):
        jobs.predict(model, image, out, overwrite=True)
    with monkeypatch.context() as patch:
        patch.setattr(jobs._Task, "values", None)  # nothing is left to compute
        jobs.predict(model, image, out, overwrite=True)
    assert bw.open_image(out).channel_names == ("outside", "inside")
    with kill(run_folder.RunFolder, "finish"):
        jobs.predict(model, image, out, overwrite=True)
    jobs.predict(model, image, out, output="segmentation", overwrite=True)  # another plan: begun anew
    assert set(np.unique(read(out, image)[1])) == {1, 2}


def test_a_run_with_another_description_or_mask_is_refused(flat, tmp_path, kill):
    model, image = flat
    mask = np.zeros(image.shape, np.uint8)
    out = tmp_path / "out.ome.zarr"
    with kill(run_folder.RunFolder, "finish"):
        jobs.predict(model, image, out, ignore=as_image(mask))
    edited = mask.copy()
    edited[50, 40] = 1  # far from the boxes of a fingerprint
    others = {
        "another ignore": (model, image, edited),
        "another pixel size": (model, as_image(image.source, pixel_size=(0.501, 0.5)), mask),
        "another classes": (replace(model, classes=("a", "b")), image, mask),
        "another model pixel size": (replace(model, pixel_size=(0.501, 0.5)), image, mask),
        "another frame axis": (model, as_image(image.source[None], axes="tyx", pixel_size=(0.5, 0.5)), mask),
    }
    for said, (m, i, ignore) in others.items():
        axes = "tyx" if "t" in i.axes else "yx"
        with pytest.raises(InputError, match=said):
            jobs.predict(m, i, out, ignore=as_image(ignore.reshape(i.source.shape), axes=axes))
    jobs.predict(model, image, out, ignore=as_image(mask))


def test_a_mask_too_large_to_hash_is_known_by_its_file(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "HASHED_BYTES", 10)
    np.save(tmp_path / "mask.npy", np.zeros((200, 200), np.uint8))
    before = jobs.mask_fingerprint(bw.open_image(tmp_path / "mask.npy"))
    assert jobs.mask_fingerprint(bw.open_image(tmp_path / "mask.npy")) == before
    os.utime(tmp_path / "mask.npy", (1, 1))
    assert jobs.mask_fingerprint(bw.open_image(tmp_path / "mask.npy")) != before


def test_resampling_needs_pixel_sizes_and_the_same_dimensions(flat, solid, tmp_path):
    model, image = flat
    with pytest.raises(InputError, match="--pixel-size"):
        jobs.predict(model, as_image(image.source), tmp_path / "o.ome.zarr", resample=True)
    with pytest.raises(InputError, match="unknown pixel size"):
        jobs.predict(solid[0], solid[1], tmp_path / "o.ome.zarr", resample=True)
    with pytest.raises(InputError, match="is 2D"):
        jobs.predict(replace(solid[0], pixel_size=(2, 1, 1)), image, tmp_path / "o.ome.zarr", resample=True)
    assert list(tmp_path.iterdir()) == []


def test_memory_of_a_block_counts_resampling_and_shards(flat):
    model, _ = flat
    pixels, settings = np.zeros((4000, 4000), np.float32), jobs.Settings(threads=1)
    plain = jobs.block_bytes(model, as_image(pixels, pixel_size=(0.5, 0.5)), 256, settings)
    finer = Resampled.to(as_image(pixels, pixel_size=(4, 4)), (0.5, 0.5))
    assert jobs.block_bytes(model, finer, 256, settings) > 20 * plain  # 64 times as many pixels are computed
    image = as_image(pixels, pixel_size=(0.5, 0.5))
    assert jobs.block_edge(model, image, settings, held=jobs.DEFAULT_MEMORY) == jobs.EDGES[2][-1]


def test_pngs_of_channels_are_not_overwritten_unasked(flat, tmp_path):
    model, image = flat
    first = jobs.predict(model, image, tmp_path / "p.png")
    assert {p.name for p in tmp_path.iterdir()} == {"p_outside.png", "p_inside.png"}
    before = first.read_bytes()
    with pytest.raises(InputError, match="exists already"):
        jobs.predict(model, image, tmp_path / "p.png", dtype="uint16")
    assert first.read_bytes() == before
    jobs.predict(model, image, tmp_path / "p.png", dtype="uint16", overwrite=True)
    assert first.read_bytes() != before


@pytest.mark.parametrize("what", ["stack", "movie", "float32", "features"])
def test_what_a_format_cannot_hold_is_said_before_computing(flat, solid, tmp_path, monkeypatch, what):
    model, image = solid if what == "stack" else flat
    if what == "movie":
        image = as_image(np.stack([image.source] * 2), axes="tyx")
    options = {"float32": {"dtype": "float32"}, "features": {"output": "features"}}.get(what, {})
    monkeypatch.setattr(jobs._Task, "values", None)
    with pytest.raises(InputError, match="PNG holds"):
        jobs.predict(model, image, tmp_path / "o.png", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_cannot_be_saved_predicts(tmp_path):
    pytest.importorskip("sklearn")
    image, labels, _ = example((60, 70))
    model = train([(image, labels)], "gaussian:1", estimator="sklearn:GaussianNB")
    assert read(jobs.predict(model, image, tmp_path / "o.ome.zarr"), image)[1].any()
    other = train([(image, labels)], "gaussian:1", estimator="sklearn:GaussianNB")
    assert jobs.model_hash(model) == jobs.model_hash(model) != jobs.model_hash(other)


def test_two_processes_never_fill_one_output(flat, tmp_path, monkeypatch):
    model, image = flat
    out = tmp_path / "out.ome.zarr"
    told = []
    fill = jobs._fill

    def filled(run, *args):
        if not told:
            told.append(True)
            with pytest.raises(InputError, match="another process"):
                jobs.predict(model, image, out)
        fill(run, *args)

    monkeypatch.setattr(jobs, "_fill", filled)
    jobs.predict(model, image, out)
    assert sorted(tmp_path.iterdir()) == [out]


def test_locks_of_the_dead_are_taken_over(tmp_path):
    lock = tmp_path / "lock"
    other = "import os, sys, time, socket; print(os.getpid(), flush=True); time.sleep(60)"
    living = subprocess.Popen([sys.executable, "-c", other], stdout=subprocess.PIPE, text=True)
    try:
        lock.write_text(f"{locks.socket.gethostname()} {living.pid} x")
        with pytest.raises(InputError, match=str(living.pid)), locks.locked(lock, "it"):
            pass
    finally:
        living.kill()
        living.communicate()
    with locks.locked(lock, "it"):
        assert str(os.getpid()) in lock.read_text()
    lock.write_text(f"{locks.socket.gethostname()} {os.getpid()} of an earlier process of this number")
    with locks.locked(lock, "it"):
        pass
    lock.write_text("elsewhere 1 x")
    with pytest.raises(InputError, match="elsewhere"), locks.locked(lock, "it"):
        pass
    os.utime(lock, (1, 1))
    with locks.locked(lock, "it", stale=30):
        pass
    assert list(tmp_path.iterdir()) == []


def test_processes_that_write_to_one_record_lose_nothing(tmp_path):
    code = (
        "import sys; from pathlib import Path; from brushwork import jobs\n"
        "folder, name = Path(sys.argv[1]), sys.argv[2]\n"
        "for i in range(15):\n"
        "    jobs.record(folder, folder / 'm.bwm', jobs.Settings(), {'image': name, 'output': f'{name}{i}'})\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), name]) for name in "abc"]
    assert [process.wait(timeout=120) for process in running] == [0, 0, 0]
    assert len(jobs.read_record(tmp_path)["images"]) == 45
    assert [p.name for p in tmp_path.iterdir()] == [jobs.RECORD]


def test_a_record_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be written"):
        jobs.record(tmp_path / "file", tmp_path / "m.bwm", jobs.Settings(), {"image": "a", "output": "b"})


@pytest.mark.parametrize("text", ["{", "[1]", "\ufffd"])
def test_a_damaged_plan_is_told(flat, tmp_path, kill, text):
    model, image = flat
    out = tmp_path / "out.ome.zarr"
    with kill(run_folder.RunFolder, "finish"):
        jobs.predict(model, image, out)
    (tmp_path / "out.ome.zarr.run" / "plan.json").write_text(text)
    with pytest.raises(InputError, match="damaged"):
        jobs.predict(model, image, out)
    jobs.predict(model, image, out, overwrite=True)


def test_a_task_is_stored_while_the_next_is_made_and_marked_only_then(solid, tmp_path, monkeypatch):
    model, _ = solid
    image = as_image(np.random.default_rng(1).normal(100, 30, (10, 300, 300)).astype(np.float32))
    second_begun, stored = threading.Event(), []
    values, write = jobs._Task.values, OmeZarrStore.write

    def seen(self, region):
        if region.start[-1] >= 256:
            second_begun.set()
        return values(self, region)

    def waits(self, region, pixels):
        assert second_begun.wait(60)
        if stored:
            raise OSError(28, "No space left on device")
        assert not list(tmp_path.glob("*.run/done/*"))
        stored.append(region)
        write(self, region, pixels)

    monkeypatch.setattr(jobs._Task, "values", seen)
    monkeypatch.setattr(OmeZarrStore, "write", waits)
    with pytest.raises(RunError, match="could not be written"):
        jobs.predict(model, image, tmp_path / "o.ome.zarr")
    assert [p.name for p in tmp_path.glob("*.run/done/*")] == ["0"]
