"""Predictions of stored images: complete or absent, resumed, and never dependent on how they were cut."""

import json
import resource
import signal

import numpy as np
import pytest

import brushwork as bw
from brushwork import jobs
from brushwork.classifier import train
from brushwork.errors import InputError, RunError
from brushwork.image import as_image
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
    assert not jobs.is_recorded(tmp_path / "a.ome.zarr", "2", "/a")  # nothing is there
    (tmp_path / jobs.RECORD).write_text(json.dumps([1]))
    with pytest.raises(InputError, match="not the record"):
        jobs.read_record(tmp_path)
