"""ilastik's headless mode: its flags, sources, types, names and formats, and what it does with what it is given."""

import json
import logging
import os
import shlex
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import tensorstore as ts
import tifffile
from PIL import Image as Pillow

from brushwork.blocks import whole
from brushwork.cli import ilastik as command
from brushwork.errors import InputError
from brushwork.interchange import headless, headless_inputs, headless_results
from brushwork.interchange.headless_formats import FORMATS, boxes, chunk_of
from brushwork.interchange.ilp import open_ilp
from brushwork.interchange.ilp_models import OLD, classifier_of
from brushwork.io import open_image
from ilp_files import IDS, random_forests, write_ilp

RNG = np.random.default_rng(0)
PLANE = RNG.integers(0, 4, (40, 50)).astype(np.uint8)  # near the thresholds of the forests
STACK = RNG.integers(0, 4, (12, 20, 24)).astype(np.uint8)
CHOSEN = {IDS[0]: (0.3, 1.0), IDS[1]: (0.7,), IDS[3]: (1.0,)}  # 4 maps
LABELS = RNG.integers(0, 3, (6, 7)).astype(np.uint8)
HALF = ("--pipeline_result_drange=(0.0,1.0)", "--export_drange=(0,255)", "--export_dtype=uint8")


@pytest.fixture(autouse=True)
def no_settings_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("LAZYFLOW_THREADS", "LAZYFLOW_TOTAL_RAM_MB"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def flat(tmp_path):
    """A project of planes with two classes, and its image."""
    return project_of(tmp_path, PLANE)


@pytest.fixture
def deep(tmp_path):
    """A project of stacks with three classes, and its image."""
    return project_of(tmp_path, STACK, forests=random_forests(1, (8, 7), 4, 3), names=("a", "b", "c"), in_2d=False)


def project_of(folder: Path, pixels: np.ndarray, **changes) -> Path:
    axes = "zyx"[-pixels.ndim :]
    np.save(folder / "image.npy", pixels)
    labels = LABELS if pixels.ndim == 2 else LABELS[np.newaxis]
    asked = {"axes": axes, "shape": pixels.shape, "chosen": CHOSEN, "in_2d": True, "label_axes": axes}
    asked |= {
        "forests": random_forests(0, (8, 7), 4, 2),
        "blocks": (((4, 5) if pixels.ndim == 2 else (2, 4, 5), labels),),
    }
    return write_ilp(folder / "p.ilp", **asked | changes)


def ilastik(project: Path, *arguments, code: int = 0, headless: bool = True) -> None:
    with pytest.raises(SystemExit) as left:
        command.main(["--headless"] * headless + [f"--project={project}", *map(str, arguments)])
    assert left.value.code == code


def exported(path: Path, name: str = "exported_data") -> np.ndarray:
    with h5py.File(path) as file:
        return file[name][()]


def axes_of(path: str | Path) -> str:
    with h5py.File(path) as file:
        return "".join(entry["key"] for entry in json.loads(file["exported_data"].attrs["axistags"])["axes"])


def probabilities(project: Path, pixels: np.ndarray, **options) -> np.ndarray:
    """(*spatial, classes), by the classifier itself."""
    return np.moveaxis(classifier_of(open_ilp(project)).predict_array(pixels, **options), 0, -1)


# -- sources -----------------------------------------------------------------------------------------------------------


def test_probabilities_are_written_beside_the_image_with_the_channel_last(flat, tmp_path, capsys):
    ilastik(flat, "--raw_data", tmp_path / "image.npy")
    assert axes_of(tmp_path / "image_Probabilities.h5") == "yxc"
    with h5py.File(tmp_path / "image_Probabilities.h5") as file:
        data = file["exported_data"]
        assert (data.dtype, data.compression) == (np.float32, "gzip")
        assert np.array_equal(data[()], probabilities(flat, PLANE))
        assert len(np.unique(data[()])) > 4
    assert f"Exporting to {tmp_path / 'image_Probabilities.h5'}/exported_data" in capsys.readouterr().out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["image.npy", "image_Probabilities.h5", "p.ilp"]


def test_the_sources_and_their_types(flat, tmp_path):
    found = {}
    for source in headless_results.KINDS:
        ilastik(flat, f"--export_source={source.lower()}", tmp_path / "image.npy")
        found[source] = exported(tmp_path / f"image_{source}.h5")
    p = probabilities(flat, PLANE)
    top = np.sort(p, axis=-1)
    assert found["Simple Segmentation"].dtype == np.uint8
    assert np.array_equal(found["Simple Segmentation"], p.argmax(-1)[..., np.newaxis] + 1)
    assert np.array_equal(found["Uncertainty"][..., 0], 1 - (top[..., -1] - top[..., -2]))
    assert found["Features"].shape == (40, 50, 4)
    painted = np.zeros((40, 50, 1), np.uint8)
    painted[4:10, 5:12, 0] = LABELS
    assert np.array_equal(found["Labels"], painted)


def test_labels_of_other_images_are_empty(flat, tmp_path):
    np.save(tmp_path / "other.npy", PLANE)
    ilastik(flat, "--export_source=Labels", tmp_path / "other.npy")
    assert not exported(tmp_path / "other_Labels.h5").any()


def test_both_stages_of_autocontext(tmp_path):
    project = project_of(tmp_path, PLANE, workflow="AutocontextTwoStage")
    second = {IDS[0]: (0.7,), IDS[3]: (1.0,)}  # 2 maps on each of 3 channels
    write_ilp(
        project, chosen=second, in_2d=True, forests=random_forests(2, (4,), 6, 3), names=("u", "v", "w"), suffix="01"
    )
    names = headless_results.sources(open_ilp(project))
    assert (names[0], names[5], names[6], names[-1]) == (
        "Probabilities Stage 2", "Input Stage 2", "Probabilities Stage 1", "Probabilities All Stages",
    )  # fmt: skip
    for source in names:
        ilastik(project, f"--export_source={source}", tmp_path / "image.npy")
    ilastik(project, "--output_filename_format={nickname}_default", tmp_path / "image.npy")
    found = {source: exported(tmp_path / f"image_{source}.h5") for source in names}
    model = classifier_of(open_ilp(project))
    first = np.moveaxis(model.earlier.predict_array(PLANE), 0, -1)
    assert np.array_equal(found["Probabilities Stage 1"], first)
    assert np.array_equal(found["Probabilities Stage 2"], probabilities(project, PLANE))
    both = np.concatenate([found["Probabilities Stage 1"], found["Probabilities Stage 2"]], axis=-1)
    assert np.array_equal(found["Probabilities All Stages"], both)
    assert np.array_equal(
        found["Input Stage 2"], np.concatenate([PLANE[..., None], (255 * first).astype(np.uint8)], -1)
    )
    assert np.array_equal(found["Input Stage 1"][..., 0], PLANE)
    assert [found[f"Features Stage {i}"].shape[-1] for i in (1, 2)] == [4, 6]
    assert np.array_equal(exported(Path("image_default.h5")), found["Probabilities Stage 2"])


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


# -- masks, parts, ranges, types, axes ---------------------------------------------------------------------------------


def test_masked_pixels_have_no_probability_and_are_class_1(deep, tmp_path):
    mask = np.zeros((*STACK.shape, 2), np.uint8)
    mask[3:, :, :10, 0], mask[:6, 5:, 12:, 1] = 1, 7  # any channel counts
    np.save("mask.npy", mask)
    inside = mask.any(-1)
    for source in ("Probabilities", "Simple Segmentation", "Uncertainty"):
        flags = ("--raw-data", "image.npy", "--prediction-mask", "mask.npy", "--input_axes=zyx,zyxc")
        ilastik(deep, f"--export_source={source}", *flags)
    p = probabilities(deep, STACK) * inside[..., np.newaxis]
    assert np.array_equal(exported(tmp_path / "image_Probabilities.h5"), p)
    segmentation = exported(tmp_path / "image_Simple Segmentation.h5")[..., 0]
    assert (segmentation[~inside] == 1).all()
    assert np.array_equal(segmentation, p.argmax(-1) + 1)
    assert (exported(tmp_path / "image_Uncertainty.h5")[~inside] == 1).all()


def test_a_mask_of_another_size_is_refused(flat, tmp_path, capsys):
    np.save("mask.npy", PLANE[1:])
    ilastik(flat, "--raw_data", "image.npy", "--prediction_mask", "mask.npy", code=1)
    assert "one size" in capsys.readouterr().err


@pytest.mark.parametrize(
    "region",
    [
        "[(0,1,2,3,5),(1,2,9,11,17)]",
        "[(None,1,2,3,5),(None,2,9,11,17)]",
        "[(2,3,5,1),(9,11,17,2)]",  # along the axes of the result, as older versions have it
    ],
)
def test_a_part_is_what_the_whole_has_there(deep, tmp_path, region):
    ilastik(deep, f"--cutout_subregion={region}", "--output_filename_format=part_{x_start}_{z_stop:03}", "image.npy")
    assert np.array_equal(exported("part_5_009.h5"), probabilities(deep, STACK)[2:9, 3:11, 5:17, 1:2])


def test_one_class_as_bytes(deep, tmp_path):
    """The call by which ecc has its probability images made."""
    ilastik(
        deep, "--output_filename_format=prob_image", "--export_source=probabilities", "--output_format=hdf5",
        "--output_internal_path=probability", "--cutout_subregion=[(None,None,None,0),(None,None,None,1)]",
        *HALF, tmp_path / "image.npy",
    )  # fmt: skip
    found = exported("prob_image.h5", "probability")
    assert found.dtype == np.uint8
    assert np.array_equal(found[..., 0], np.rint(probabilities(deep, STACK)[..., 0] * 255))


def test_rescaling_rounds_and_conversion_cuts_off():
    values = np.array([0.0, 0.1, 0.5, 0.999, 1.0, 2.0], np.float32)
    assert headless.converted(values, ((0, 1), (0, 255)), np.dtype(np.uint8)).tolist() == [0, 26, 128, 255, 255, 255]
    assert headless.converted(values, ((0, 1), (10, 0)), np.dtype(np.int16)).tolist() == [10, 9, 5, 0, 0, -10]
    assert headless.converted(values, None, np.dtype(np.uint8)).tolist() == [0, 0, 0, 0, 1, 2]
    moved = headless.converted(values, ((0, 1), (0, 10)), np.dtype(np.float32))
    assert np.allclose(moved, values * 10, atol=1e-6)
    assert headless.converted(values, ((0, 0), (0, 255)), np.dtype(np.uint8)).tolist() == [0] * 6
    assert headless.converted(np.array([7], np.uint8), None, np.dtype(np.uint16)).tolist() == [7]


@pytest.mark.parametrize("axes", ["cyx", "xyc", "tzcyx", "czyx"])
def test_the_order_of_the_output_axes(flat, axes):
    ilastik(flat, f"--output_axis_order={axes}", "image.npy")
    p = probabilities(flat, PLANE)
    kept = "".join(a for a in axes if a in "yxc")
    expected = p.transpose(["yxc".index(a) for a in kept]).reshape([dict(zip("yxc", p.shape)).get(a, 1) for a in axes])
    assert np.array_equal(exported("image_Probabilities.h5"), expected)


def test_an_axis_that_is_needed_cannot_be_left_out(flat, capsys):
    ilastik(flat, "--output_axis_order=yx", "image.npy", code=1)
    assert "leave c out" in capsys.readouterr().err


def test_small_blocks_give_what_large_ones_give(deep, monkeypatch):
    monkeypatch.setattr(headless, "EDGES", {3: (5,)})
    monkeypatch.setenv("LAZYFLOW_THREADS", "2")
    ilastik(deep, "image.npy")
    assert np.array_equal(exported("image_Probabilities.h5"), probabilities(deep, STACK))


# -- inputs ------------------------------------------------------------------------------------------------------------


def write_hdf5(path: str, pixels: np.ndarray, axes: str) -> None:
    with h5py.File(path, "w") as file:
        file["volume/data"] = pixels
        file["volume/data"].attrs["axistags"] = json.dumps({"axes": [{"key": a, "typeFlags": 2} for a in axes]})


def test_axes_are_those_of_the_training_data_unless_something_else_is_said(flat):
    write_hdf5("turned.h5", PLANE, "xy")
    names = ("--output_filename_format={nickname}", "turned.h5/volume/data")
    for flags, axes in (([], "yxc"), (["--ignore_training_axistags"], "xyc"), (["--input-axes=xy"], "xyc")):
        ilastik(flat, *flags, *names)
        assert axes_of("turned-volume-data.h5") == axes
        assert np.array_equal(
            exported("turned-volume-data.h5"), probabilities(flat, PLANE)
        )  # its features are symmetric


def test_a_channel_that_is_only_told_is_one_channel(tmp_path):
    project = project_of(tmp_path, PLANE, axes="yxc", shape=(40, 50, 1), label_axes=None, blocks=())
    Pillow.fromarray(PLANE).save("grey.png")
    ilastik(project, "grey.png")
    assert exported("grey_Probabilities.h5").shape == (40, 50, 2)


def test_a_stack_of_one_section_is_computed_in_2d_and_keeps_its_axes(flat):
    np.save("one.npy", PLANE[np.newaxis])
    ilastik(flat, "--input_axes=zyx", "one.npy")
    assert np.array_equal(exported("one_Probabilities.h5")[0], probabilities(flat, PLANE))


def test_frames_are_predicted_one_by_one(flat):
    frames = np.stack([PLANE, PLANE[::-1], PLANE.max() - PLANE])
    np.save("film.npy", frames)
    ilastik(
        flat, "--input_axes=tyx", "--cutout_subregion=[(1,None,None,None,None),(3,None,None,None,None)]", "film.npy"
    )
    expected = np.stack([probabilities(flat, frame) for frame in frames[1:]])
    assert np.array_equal(exported("film_Probabilities.h5"), expected)


def test_stacks_by_pattern_and_by_list(deep):
    for z, plane in enumerate(STACK):
        tifffile.imwrite(f"s_{z:02}.tif", plane)
    ilastik(deep, "s_*.tif")
    assert np.array_equal(exported("s__Probabilities.h5"), probabilities(deep, STACK))
    separator = ";" if sys.platform == "win32" else ":"
    ilastik(
        deep, "--preconvert_stacks", "--ignore-training-axistags", separator.join(f"s_{z:02}.tif" for z in range(6))
    )
    assert exported("s_0_Probabilities.h5").shape == (6, 20, 24, 3)


def write_n5(path: Path, pixels: np.ndarray, axes: str) -> None:
    spec = {"driver": "n5", "kvstore": {"driver": "file", "path": f"{path}/"}, "create": True}
    about = {"axes": list(axes[::-1]), "blockSize": [8] * pixels.ndim, "compression": {"type": "gzip"}}
    ts.open(spec | {"metadata": about}, dtype=pixels.dtype, shape=pixels.shape[::-1]).result().T[...] = pixels


@pytest.mark.parametrize("axes", [[], ["--input_axes=zyx"], ["--ignore_training_axistags"]], ids=str)
@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("all.h5/s_*", "all-s_"), (":".join(f"all.h5/s_{z:02}" for z in range(12)), "all-s_"), ("f_*.h5/plane", "f_-plane"),
        ("all.n5/s_*", "all-s_"), ("all.n5/s_00:all.n5/s_01", "all-s_0"), ("v_*.h5/data", "v_-data"), ("a:b.n5/v", "a:b-v"),
    ],
)  # fmt: skip
def test_stacks_inside_files_are_named_and_ordered_as_in_ilastik(deep, given, name, axes):
    with h5py.File("all.h5", "w") as file:
        for z, plane in enumerate(STACK):
            file[f"s_{z:02}"] = plane
    for z, plane in enumerate(STACK):
        write_hdf5(f"f_{z:02}.h5", plane, "yx")
        with h5py.File(f"f_{z:02}.h5", "a") as file:
            file["plane"] = file["volume/data"]
        write_n5(Path(f"all.n5/s_{z:02}"), plane, "yx")
    for i in range(2):  # volumes are joined along the axis that they have
        write_hdf5(f"v_{i}.h5", STACK[6 * i : 6 * i + 6], "zyx")
        with h5py.File(f"v_{i}.h5", "a") as file:
            file["data"] = file["volume/data"]
    write_n5(Path("a:b.n5/v"), STACK, "zyx")
    ilastik(
        deep, "--output_filename_format={nickname}", *axes, given.replace(":", os.pathsep) if "all" in given else given
    )
    expected = probabilities(deep, STACK[:2] if name == "all-s_0" else STACK)
    np.testing.assert_array_equal(exported(Path(f"{name}.h5")), expected)


def test_an_n5_is_not_written_over_where_it_is_read(flat, capsys):
    write_n5(Path("in.n5/exported_data"), PLANE, "yx")
    Path("in.n5/attributes.json").write_text('{"n5": "2.0.0"}')
    for read in ("in.n5", "in.n5/exported_data"):
        ilastik(flat, "--output_format=n5", "--output_filename_format=in", read, code=1)
        assert "would be written over" in capsys.readouterr().err
    ilastik(flat, "--output_format=n5", "--output_filename_format=in", "--output_internal_path=out", "in.n5")
    assert np.array_equal(read_n5(Path("in.n5"), "out"), probabilities(flat, PLANE))
    ilastik(flat, "--output_filename_format=back", "--output_format=numpy", "in.n5/exported_data")
    assert np.array_equal(np.load("back.npy"), probabilities(flat, PLANE))


@pytest.mark.parametrize("pixels", [PLANE, STACK], ids=["plane", "stack"])
def test_the_call_of_the_plugin_for_fiji(tmp_path, pixels):
    """It hands over and takes back five axes."""
    project = project_of(tmp_path, pixels, in_2d=pixels.ndim == 2)
    write_hdf5("raw.h5", np.atleast_3d(pixels.T).T[np.newaxis, ..., np.newaxis], "tzyxc")
    ilastik(
        project, "--output_format=hdf5", "--output_axis_order=tzyxc", "--ignore_training_axistags", "--readonly=1",
        "--output_internal_path=exported_data", "--output_filename_format=out.h5", "--export_source=Probabilities",
        "--raw_data=raw.h5/volume/data",
    )  # fmt: skip
    expected = probabilities(project, pixels)
    assert np.array_equal(exported("out.h5"), expected.reshape(1, -1, *expected.shape[-3:]))


def test_axes_are_spoken_of_only_where_they_are_the_matter(flat, capsys):
    Path("words.png").write_text("no image")
    for name in ("absent.png", "words.png"):
        ilastik(flat, name, code=1)
        assert "--input_axes" not in capsys.readouterr().err
    ilastik(flat, "--input_axes=tzyx", "image.npy", code=1)
    assert "--ignore_training_axistags" in capsys.readouterr().err


def test_images_that_do_not_suit_the_project_are_refused(flat, capsys):
    np.save("stack.npy", STACK)
    ilastik(flat, "stack.npy", code=1)
    assert "training data" in capsys.readouterr().err
    ilastik(flat, "--input_axes=zyx", "stack.npy")  # all its features are 2D: section by section
    ilastik(flat, "--input_axes=cyx", "stack.npy", code=1)
    assert "--input_axes" in capsys.readouterr().err
    ilastik(flat, "absent.npy", code=1)
    assert "absent.npy" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((4, 5), "yx"), ((4, 5, 3), "yxc"), ((7, 4, 5), "zyx"), ((6, 4, 5, 2), "zyxc"), ((2, 6, 7, 5), "tzyx"),
        ((2, 3, 4, 5, 6), "tzyxc"),
    ],
)  # fmt: skip
def test_axes_that_nothing_tells_are_guessed_as_ilastik_does(tmp_path, shape, axes):
    project = project_of(tmp_path, PLANE)
    with h5py.File("u.h5", "w") as file:
        file["data"] = np.zeros(shape, np.uint8)
    given = headless_inputs.open_input(open_ilp(project), "u.h5/data", reading=headless_inputs.Reading(own_axes=True))
    assert given.axes == (axes if "c" in axes else axes + "c")


# -- names -------------------------------------------------------------------------------------------------------------


def test_placeholders(flat, tmp_path):
    ilastik(
        flat, "--cutout_subregion=[(0,0,0,1,2),(1,2,1,9,8)]", "--output_internal_path={nickname}/{c_stop}",
        "--output_filename_format={dataset_dir}/sub/{nickname}-{result_type}-{roi}-{y_start}-{x_stop:03}.any", "image.npy",
    )  # fmt: skip
    assert exported(tmp_path / "sub" / "image-Probabilities-[(1, 2, 0), (9, 8, 2)]-1-008.h5", "image/2").shape == (
        8,
        6,
        2,
    )


def test_a_nickname_ends_at_its_last_dot(flat):
    np.save("a.v1.npy", PLANE)
    np.save("a.v2.npy", PLANE)
    ilastik(flat, "a.v1.npy")
    assert Path("a.h5").exists()
    ilastik(flat, "a.v1.npy", "a.v2.npy", code=1)  # both would be a.h5


def test_unknown_placeholders_are_told(flat, capsys):
    ilastik(flat, "--output_filename_format={nick}", "image.npy", code=1)
    assert "{nickname}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "where", ["{nickname:>3000000000}", "{nickname!r}", "{nickname.x}", "{x_start:0999}", "{nickname}" * 900]
)
def test_hostile_names_are_refused_at_once(flat, capsys, where):
    with h5py.File(flat, "a") as file:
        file["Prediction Export/OutputFilenameFormat"] = where.encode()
    ilastik(flat, "image.npy", code=1)
    assert len(capsys.readouterr().err) < 600
    assert not list(Path().glob("*_*"))


def test_hostile_names_of_slices_are_refused(flat, capsys):
    named = "--output_filename_format=a{slice_index:>3000000000}"
    ilastik(flat, "--output_format=png sequence", named, "image.npy", code=1)
    assert ":>3000000000" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "read", "kept"),
    [
        (("--output_format=numpy", "--output_filename_format={dataset_dir}/image"), ["image.npy"], "image.npy"),
        (("--output_format=numpy", "--output_filename_format=link"), ["image.npy"], "image.npy"),
        (("--output_format=numpy", "--output_filename_format=m"), ["--raw_data=image.npy", "--prediction_mask=m.npy"], "m.npy"),
        (("--output_format=numpy", "--output_filename_format=m"), ["image.npy", "m.npy"], "m.npy"),
        (("--output_filename_format=in", "--output_internal_path=a/data"), ["in.h5/a/data"], "in.h5"),
        (("--output_filename_format=in", "--output_internal_path=/a/./data"), ["in.h5"], "in.h5"),
        (("--output_filename_format=in", "--output_internal_path=a"), ["in.h5/a/data"], "in.h5"),
        (("--output_filename_format=in", "--output_internal_path=a"), ["in.h5"], "in.h5"),
        (("--output_filename_format=in", "--output_internal_path=a/data/b"), ["in.h5/a/data"], "in.h5"),
        (("--output_filename_format=in", "--output_internal_path=alias"), ["in.h5/a/data"], "in.h5"),
        (("--output_filename_format=project",), ["image.npy"], "p.ilp"),
        (("--variable_importance_path=image.npy",), ["image.npy"], "image.npy"),
        (("--variable_importance_path=p.ilp",), ["image.npy"], "p.ilp"),
        (
            (
                "--output_format=png sequence", "--export_source=Simple Segmentation", "--output_axis_order=zyxc",
                "--ignore_training_axistags", "--input_axes=zyx", "--output_filename_format=s_{slice_index:02}",
            ),
            ["s_*.png"],
            "s_01.png",
        ),
    ],
)  # fmt: skip
def test_nothing_is_written_over_what_is_read(flat, tmp_path, capsys, flags, read, kept):
    np.save("m.npy", PLANE)
    Path("link.npy").symlink_to("image.npy")
    Path("project.h5").symlink_to("p.ilp")
    for number in range(3):
        Pillow.fromarray(PLANE).save(f"s_{number:02}.png")
    with h5py.File("in.h5", "w") as file:
        file["a/data"] = PLANE
        file["alias"] = h5py.SoftLink("/a/data")
    before = Path(kept).read_bytes()
    ilastik(flat, *flags, *read, code=1)
    assert "would be written over" in capsys.readouterr().err
    assert Path(kept).read_bytes() == before
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("read", ["in.h5", "in.h5/data"])
def test_another_dataset_may_be_written_into_the_file_of_an_image(flat, read):
    with h5py.File("in.h5", "w") as file:
        file["data"] = PLANE
    ilastik(flat, "--output_filename_format=in", "--output_internal_path=data2", read)
    assert np.array_equal(exported(Path("in.h5"), "data"), PLANE)
    assert np.array_equal(exported(Path("in.h5"), "data2"), probabilities(flat, PLANE))


def test_results_with_other_names_inside_the_file_are_kept(flat, tmp_path):
    np.save("second.npy", PLANE.T)
    for form, read in (("hdf5", exported), ("compressed n5", read_n5)):
        where = (f"--output_format={form}", "--output_filename_format=all", "--output_internal_path={nickname}/p")
        ilastik(flat, *where, "image.npy", "second.npy")
        ilastik(flat, *where, "second.npy")
        path = Path(f"all.{FORMATS[form].extension}")
        assert np.array_equal(read(path, "image/p"), probabilities(flat, PLANE))
        assert np.array_equal(read(path, "second/p"), probabilities(flat, PLANE.T))


def test_all_else_in_an_hdf5_file_stays_as_it_is(flat):
    with h5py.File("all.h5", "w") as file:
        file.attrs["note"] = "kept"
        file["mine"] = PLANE
        file["mine"].attrs["unit"] = "um"
        file["linked"], file["nowhere"] = h5py.SoftLink("/mine"), h5py.SoftLink("/absent")
        file["away"] = h5py.ExternalLink("absent.h5", "/x")
    for _ in range(2):
        ilastik(flat, "--output_filename_format=all", "--output_internal_path=p", "image.npy")
    with h5py.File("all.h5") as file:
        assert (file.attrs["note"], file["mine"].attrs["unit"]) == ("kept", "um")
        assert np.array_equal(file["linked"], PLANE)
        links = {name: file.get(name, getlink=True) for name in file}
        assert [links[name].path for name in ("linked", "nowhere", "away")] == ["/mine", "/absent", "/x"]
        assert np.array_equal(file["p"], probabilities(flat, PLANE))


def test_a_name_that_is_too_long_is_told(flat, capsys):
    ilastik(flat, f"--output_filename_format={'a' * 240}", "image.npy", code=1)
    assert "aaa.h5 cannot be written: file name too long" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["hdf5", "n5"])
def test_a_result_is_not_put_into_another_one(flat, form, capsys):
    where = (f"--output_format={form}", "--output_filename_format=all")
    ilastik(flat, *where, "--output_internal_path=a", "image.npy")
    ilastik(flat, *where, "--output_internal_path=a/b/c", "image.npy", code=1)
    assert "is an array, so a/b/c cannot lie in it" in capsys.readouterr().err


def test_a_file_of_another_kind_is_not_taken_for_hdf5(flat, capsys):
    Path("image_Probabilities.h5").write_text("not at all")
    ilastik(flat, "image.npy", code=1)
    assert "no HDF5 file" in capsys.readouterr().err
    assert Path("image_Probabilities.h5").read_text() == "not at all"


def test_projects_that_go_on_to_objects_give_their_pixels(tmp_path, capsys):
    project = project_of(tmp_path, PLANE, workflow="Object Classification (from pixel classification)")
    ilastik(project, "image.npy", code=1)
    assert "--export_source='Pixel Probabilities'" in capsys.readouterr().err
    ilastik(project, "--export_source=pixel probabilities", "image.npy")
    assert np.array_equal(exported("image_Pixel Probabilities.h5"), probabilities(project, PLANE))


def test_the_nickname_of_an_address(tmp_path):
    assert headless_inputs.nickname(["https://host/a/cells.zarr/s1"]) == "cells-s1"


def test_a_setting_that_cannot_be_had_can_be_overruled(flat):
    with h5py.File(flat, "a") as file:
        file["Prediction Export/OutputFormat"] = b"dvid"
    ilastik(flat, "image.npy", code=1)
    ilastik(flat, "--output_format=hdf5", "image.npy")


def test_the_settings_of_the_project_count_where_a_flag_is_not_given(flat, tmp_path):
    with h5py.File(flat, "a") as file:
        group = file.create_group("Prediction Export")
        group["OutputFormat"], group["OutputFilenameFormat"], group["OutputInternalPath"] = (
            b"hdf5",
            b"out/{nickname}",
            b"in",
        )
        group["ExportDtype"], group["OutputAxisOrder"] = b"uint16", b"cyx"
        group["RegionStart"], group["RegionStop"] = np.array([-1, -1, -1, 3, -1]), np.array([-1, 1, -1, 9, -1])
        for name, value in (("InputMin", 0.0), ("InputMax", 1.0), ("ExportMin", 0), ("ExportMax", 1000)):
            group[name] = value
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    ilastik(flat, tmp_path / "image.npy")  # relative names of the project begin at its folder
    found = exported(tmp_path / "out" / "image.h5", "in")
    assert found.dtype == np.uint16
    assert np.array_equal(found[0], np.rint(probabilities(flat, PLANE)[3:9, :, 0] * np.float32(1000)))
    ilastik(flat, "--export_dtype=float32", "--output_filename_format=mine", "--output_internal_path=x", "image.npy")
    assert exported(tmp_path / "mine.h5", "x").dtype == np.float32


# -- formats -----------------------------------------------------------------------------------------------------------


def read_n5(path: Path, name: str = "exported_data") -> np.ndarray:
    assert json.loads((path / "attributes.json").read_text())["n5"]
    store = {"driver": "file", "path": f"{path.absolute()}/{name}/"}
    data = ts.open({"driver": "n5", "kvstore": store}).result()
    return data.read().result().T


def read_zarr(path: Path, level: str = "s0") -> np.ndarray:
    store = {"driver": "file", "path": f"{path.absolute()}/{level}/"}
    return ts.open({"driver": "zarr", "kvstore": store}).result().read().result()


@pytest.mark.parametrize("name", ["n5", "compressed n5", "hdf5", "compressed hdf5", "numpy"])
def test_arrays_of_any_axes(deep, tmp_path, name):
    ilastik(deep, f"--output_format={name}", "image.npy")
    path = tmp_path / f"image_Probabilities.{FORMATS[name].extension}"
    found = {"n5": read_n5, "h5": exported, "npy": np.load}[FORMATS[name].extension](path)
    assert np.array_equal(found, probabilities(deep, STACK))


@pytest.mark.parametrize("source", ["Probabilities", "Simple Segmentation"])
def test_ome_zarr_has_five_axes_and_levels(tmp_path, source, monkeypatch):
    pixels = RNG.integers(0, 4, (1100, 601)).astype(np.uint8)
    project = project_of(tmp_path, pixels, forests=random_forests(0, (2,), 4, 2))
    for name in ("single-scale OME-Zarr", "multi-scale OME-Zarr"):
        ilastik(
            project,
            f"--output_format={name}",
            f"--output_filename_format={name[:4]}",
            f"--export_source={source}",
            "image.npy",
        )
    ilastik(project, f"--export_source={source}", "image.npy")
    expected = np.moveaxis(exported(f"image_{source}.h5"), -1, 0)[np.newaxis, :, np.newaxis]
    for name, levels in (("sing", 1), ("mult", 3 if source == "Probabilities" else 2)):
        path = tmp_path / f"{name}.zarr"
        attributes = json.loads((path / ".zattrs").read_text())["multiscales"][0]
        assert [entry["path"] for entry in attributes["datasets"]] == [f"s{i}" for i in range(levels)]
        assert [entry["name"] for entry in attributes["axes"]] == list("tczyx")
        assert np.array_equal(read_zarr(path), expected)
        if levels > 1:
            assert read_zarr(path, "s1").shape == (1, expected.shape[1], 1, 550, 300)
        opened = open_image(path)
        assert opened.shape == (1100, 601)
    ilastik(project, "--output_format=multi-scale OME-Zarr", "--output_filename_format=mult", "image.npy", code=1)


@pytest.mark.parametrize(
    "name", [name for name in FORMATS if FORMATS[name].extension in ("bmp", "gif", "png", "pgm", "pbm", "pnm")]
)
def test_pictures_and_their_sequences(deep, tmp_path, name):
    kind = name.split()[0]
    one = "--cutout_subregion=[(0,0,4,0,0),(1,1,5,20,24)]"
    if name == kind:
        ilastik(deep, f"--output_format={name}", one, *HALF, "--output_filename_format=p", "image.npy")
        files = [Path(f"p.{kind}")]
    else:
        ilastik(
            deep, f"--output_format={name}", "--cutout_subregion=[(0,0,3,0,0),(1,1,12,20,24)]", *HALF,
            "--output_filename_format=p_{slice_index}", "image.npy",
        )  # fmt: skip
        files = [Path(f"p_{z:02}.{kind}") for z in range(3, 12)]
    expected = np.rint(probabilities(deep, STACK)[..., 0] * 255).astype(np.uint8)[4 : 5 if name == kind else None]
    for file, plane in zip(files if name == kind else files[1:], expected, strict=True):
        with Pillow.open(file) as picture:
            assert np.array_equal(np.asarray(picture.convert("L")), plane)
    assert len(list(tmp_path.glob(f"p*.{kind}"))) == len(files)


def test_colour_pictures_and_sequences_of_tiff(deep):
    expected = np.rint(probabilities(deep, STACK)[4] * 255).astype(np.uint8)
    for kind in ("ppm", "bmp", "png", "jpg", "jpeg", "tif"):
        one = ("--cutout_subregion=[(0,0,4,0,0),(1,3,5,20,24)]", "--output_filename_format=p", *HALF)
        ilastik(deep, f"--output_format={kind}", *one, "image.npy")
        with Pillow.open(f"p.{kind}") as picture:
            off = np.abs(np.asarray(picture).astype(int) - expected)
        assert off.mean() <= (2 if kind.startswith("j") else 0)
    ilastik(deep, "--output_format=tif sequence", "--output_filename_format=s/{slice_index:03}", "image.npy")
    assert np.array_equal(tifffile.imread("s/007.tif"), probabilities(deep, STACK)[7])


def test_tiff_of_a_plane_keeps_numbers_and_channels(flat):
    ilastik(flat, "--output_format=tiff", "image.npy")
    assert np.array_equal(tifffile.imread("image_Probabilities.tiff"), probabilities(flat, PLANE))
    ilastik(flat, "--output_format=tif", "--export_source=Simple Segmentation", "image.npy")
    assert np.array_equal(tifffile.imread("image_Simple Segmentation.tif"), probabilities(flat, PLANE).argmax(-1) + 1)


def test_multipage_tiff_and_its_sequence(deep):
    ilastik(deep, "--output_format=multipage tiff", "image.npy")
    with tifffile.TiffFile("image_Probabilities.tiff") as file:
        assert file.series[0].axes == "ZCYX"
        assert np.array_equal(file.asarray(), np.moveaxis(probabilities(deep, STACK), -1, 1))
    ilastik(
        deep, "--output_format=multipage tiff sequence", "--output_axis_order=czyx",
        "--output_filename_format=class_{slice_index:03}", "image.npy",
    )  # fmt: skip
    for c in range(3):
        assert np.array_equal(tifffile.imread(f"class_{c:03}.tiff"), probabilities(deep, STACK)[..., c])


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--output_format=png"], "uint8 with 1 channel"),
        (["--output_format=png", "--export_dtype=uint8"], "one channel with --cutout_subregion"),
        (["--output_format=png sequence"], "{slice_index}"),
        (["--output_filename_format=a_{slice_index}"], "{slice_index}"),
        (["--output_format=hdr"], "no library"),
        (["--output_format=dvid"], "n5 or hdf5"),
        (["--output_format=hdf6"], "hdf5"),
        (["--export_dtype=uint12"], "uint16"),
        (["--export_source=Probability"], "Probabilities"),
        (["--cutout_subregion=[(0,0),(1,1)]"], "five"),
        (["--cutout_subregion=[(0,0,0,99,0),(1,1,1,120,9)]"], "empty"),
        (["--output_axis_order=yxq"], "t, c, z, y, x"),
    ],
)  # fmt: skip
def test_what_cannot_be_written_is_told_before_anything_is_computed(flat, tmp_path, capsys, flags, words):
    ilastik(flat, *flags, "image.npy", code=1)
    assert words in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["image.npy", "p.ilp"]


def test_a_run_that_fails_leaves_nothing_behind(flat, tmp_path, capsys, monkeypatch):
    ilastik(flat, "image.npy")
    before = Path("image_Probabilities.h5").read_bytes()
    pixels = PLANE.astype(np.float32)
    pixels[3, 4] = np.nan
    np.save("image.npy", pixels)
    ilastik(flat, "image.npy", code=1)
    assert "NaN" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["image.npy", "image_Probabilities.h5", "p.ilp"]
    assert Path("image_Probabilities.h5").read_bytes() == before


def test_images_after_one_that_fails_are_not_predicted(flat):
    np.save("bad.npy", np.full(PLANE.shape, np.nan, np.float32))
    np.save("good.npy", PLANE)
    ilastik(flat, "image.npy", "bad.npy", "good.npy", code=1)
    assert Path("image_Probabilities.h5").exists()
    assert not Path("good_Probabilities.h5").exists()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["image.npy", "absent.npy"], "absent.npy does not exist"),
        (["--input_axes=zyx", "stack.npy"], "has 1 channel(s) in 3D"),
        (["image.npy", "--output_axis_order=yx"], "leave c out"),
        (["image.npy", "--output_format=png"], "png holds"),
        (["image.npy", "--output_format=multi-scale OME-Zarr", "--output_filename_format=there"], "exists already"),
        (["image.npy", "--output_format=n5", "--output_filename_format=there"], "holds other things"),
        (["image.npy", "--output_format=n5", "--output_filename_format=file"], "is a file"),
        (["image.npy", "--output_format=numpy", "--output_filename_format=there"], "is a folder"),
        (["image.npy", "--output_filename_format=file"], "no HDF5 file"),
        (["image.npy", "--output_filename_format=nest", "--output_internal_path=a/b/c"], "nest.h5/a is an array"),
        (["image.npy", "--output_filename_format=nest", "--output_internal_path=g"], "nest.h5/g holds other things"),
        (["image.npy", "--output_filename_format=image.npy/x"], "no folder that may be written to"),
        (["image.npy", "--variable_importance_path=there.n5"], "is a folder"),
        (["image.npy", "--tree_count=20000"], "20000"),
    ],
)
def test_what_can_be_refused_is_refused_before_training(flat, capsys, monkeypatch, flags, words):
    monkeypatch.setattr(headless_results, "trained_stages", lambda *_, **__: pytest.fail("trained"))
    np.save("stack.npy", STACK)
    for name in ("there.zarr", "there.n5/exported_data", "there.npy"):
        (Path(name) / "other").mkdir(parents=True)
    for name in ("file.h5", "file.n5"):
        Path(name).write_text("words")
    with h5py.File("nest.h5", "w") as file:
        file["a"], file["g/b"] = 1, 2
    ilastik(flat, "--retrain", *flags, code=1)
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("axes", "shape", "whole_axes"), [("zyxc", (300, 20, 700, 3), "c"), ("tczyx", (5, 2, 90, 90, 90), "")]
)
def test_boxes_cover_an_array_once(axes, shape, whole_axes, monkeypatch):
    monkeypatch.setattr("brushwork.interchange.headless_formats.SLAB_BYTES", 1 << 20)
    chunk = chunk_of(axes, shape, 4, 300_000, whole=whole_axes)
    assert 30_000 < np.prod(chunk) * 4 <= 300_000
    seen = np.zeros(shape, np.uint8)
    for box in boxes(shape, chunk, 4):
        assert seen[box].size * 4 <= 1 << 20
        assert all(s.start % e == 0 for s, e in zip(box, chunk))
        seen[box] += 1
    assert (seen == 1).all()


# -- flags -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--segmentation_image", "a.h5"], "another workflow"),
        (["--prediction-maps=a.h5"], "another workflow"),
        (["--table_only"], "another workflow"),
        (["--nn_device", "cpu"], "neural networks"),
        (["--new_project=a.ilp"], "projects are not made here"),
        (["--exit_on_failure"], "together with --headless"),
        (["--distributed"], "threads of one process"),
        (["--generate-random-labels"], "never changed"),
        (["--colour=blue"], "--colour"),
        (["--export_drange=(0,255)"], "--pipeline_result_drange"),
        (["--pipeline_result_drange=(0,1)", "--export_drange=__import__('os').getcwd()"], "not understood"),
        (["--cutout_subregion=5"], "--cutout_subregion"),
        (["--raw_data", "image.npy", "--", "image.npy"], "--raw_data"),
        (["--prediction_mask", "a.npy", "b.npy", "--raw_data", "image.npy"], "mask"),
        (["--tree_count=0"], "--tree_count 0"),
        (["--label_proportion=1.5"], "--label_proportion 1.5"),
        (["--readonly", "image.npy"], "neither yes nor no"),
        (["", "image.npy"], "is empty"),
    ],
)  # fmt: skip
def test_flags_that_are_not_taken_are_told_by_name(flat, capsys, flags, words):
    ilastik(flat, *flags, code=2)
    assert words in capsys.readouterr().err


def test_without_headless_or_project(flat, capsys):
    ilastik(flat, "image.npy", code=2, headless=False)
    assert "--headless" in capsys.readouterr().err
    with pytest.raises(SystemExit) as left:
        command.main(["--headless"])
    assert left.value.code == 2


@pytest.mark.parametrize(
    "readonly", [["--readonly"], ["--readonly=1"], ["--readonly=0"], ["--readonly", "True"], ["--readonly", "1"], []]
)
def test_flags_that_change_nothing(flat, readonly):
    before = flat.read_bytes()
    ilastik(flat, *readonly, "--clean_paths", "--process_name=a", "image.npy")
    assert Path("image_Probabilities.h5").exists()
    assert flat.read_bytes() == before


@pytest.mark.parametrize(
    ("line", "written"),
    [
        ("--readonly READONLY --project=p.ilp image.npy", "image_Probabilities.h5"),
        (
            "image.npy --export_source='simple segmentation' --output_format='tif' --project p.ilp",
            "image_Simple Segmentation.tif",
        ),
        (
            "--project=p.ilp --raw-data image.npy b.npy --output-format numpy --output_filename_format={nickname}_p.numpy",
            "b_p.npy",
        ),
        (
            "--project=./p.ilp --stack_along='z' --output_filename_format=./out/{nickname}.b.tiff 'imag*.npy'",
            "out/image.b.h5",
        ),
        (
            "--project=p.ilp '--export_source=\"Simple Segmentation\"' '--raw_data=\"image.npy\"'",
            "image_Simple Segmentation.h5",
        ),
        ("--project=~/p.ilp --raw_data=~/image.npy --output_filename_format=~/sub/x", "sub/x.h5"),
        (
            "--project=p.ilp 'my images/a b.npy' --output_filename_format='{dataset_dir}/{nickname} p'",
            "my images/a b p.h5",
        ),
        ("--sys_tmp_dir=/tmp --clean_paths --debug --project=p.ilp image.npy", "image_Probabilities.h5"),
        (
            "--project=p.ilp --output_format=tiff --export_dtype uint16 --pipeline_result_drange='[0.0, 1.0]' "
            "--export_drange='[0, 65535]' image.npy",
            "image_Probabilities.tiff",
        ),
        (
            "--project=p.ilp --output_axis_order=cyx --output_format='tiff sequence' --logfile ./log.txt "
            "--output_filename_format=./{nickname}_{result_type}_{slice_index}.tiff image.npy",
            "image_Probabilities_1.tiff",
        ),
        (
            "--cutout_subregion='[(0, 0, 0), (10, 20, 100)]' --preconvert_stacks --output_internal_path /volume/predictions "
            "--project=p.ilp --output_axis_order=txyzc --output_format=hdf5 --output_filename_format=g.h5 image.npy",
            "g.h5",
        ),
    ],
)
def test_lines_as_scripts_have_them(flat, tmp_path, line, written):
    np.save("b.npy", PLANE)
    Path("my images").mkdir()
    np.save("my images/a b.npy", PLANE)
    with pytest.raises(SystemExit) as left:
        command.main(["--headless", *(a for a in shlex.split(line) if a != "--debug")])
    assert left.value.code == 0
    assert (tmp_path / written).is_file()
    for handler in command.log.handlers[1:]:
        command.log.removeHandler(handler)
        handler.close()


def test_a_log_file_that_cannot_be_written_is_told(flat, capsys):
    ilastik(flat, "--logfile=nowhere/log.txt", "image.npy", code=1)
    assert "nowhere/log.txt cannot be written: no such file or directory" in capsys.readouterr().err


def test_output_and_messages_go_to_files(flat, monkeypatch):
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, getattr(sys, name))  # put back afterwards
    ilastik(flat, "--redirect_output=said.txt", "--logfile=log.txt", "image.npy")
    sys.stdout.close()
    for handler in command.log.handlers[1:]:
        command.log.removeHandler(handler)
        handler.close()
    assert "Exporting to" in Path("said.txt").read_text()
    assert "INFO Exporting to" in Path("log.txt").read_text()
    command.log.setLevel(logging.NOTSET)


@pytest.mark.parametrize(
    ("environment", "config", "expected"),
    [
        ({}, "", (None, None)),
        ({"LAZYFLOW_THREADS": "3", "LAZYFLOW_TOTAL_RAM_MB": "700"}, "", (3, 400 << 20)),
        ({"LAZYFLOW_THREADS": "0"}, "", (1, None)),
        ({}, "[lazyflow]\nthreads = 2\ntotal_ram_mb = 1000\n", (2, 700 << 20)),
        ({"LAZYFLOW_THREADS": "4"}, "[lazyflow]\nthreads = 2\n", (4, None)),
    ],
)  # fmt: skip
def test_threads_and_memory(monkeypatch, environment, config, expected):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    Path("settings").write_text(config)
    assert command._resources("settings") == expected


def test_memory_in_gigabytes_is_told(flat, monkeypatch, capsys):
    monkeypatch.setenv("LAZYFLOW_TOTAL_RAM_MB", "16")
    ilastik(flat, "image.npy", code=1)
    assert "not in GB" in capsys.readouterr().err


def test_labels_by_slice(deep, capsys):
    ilastik(deep, "--print-labels-by-slice", "--label-search-value=2")
    said = capsys.readouterr().out
    n = int((LABELS == 2).sum())
    assert f"Z=2: {n}\n" in said
    assert f"Total labels for project: {n}\n" in said


def test_it_is_a_command_of_brushwork(flat, tmp_path):
    run = [str(Path(sys.executable).parent / "brushwork"), "ilastik"]
    for arguments, code in (
        (["--headless", f"--project={flat}", "image.npy"], 0),
        (["--help"], 0),
        (["--headless"], 2),
    ):
        done = subprocess.run([*run, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == code, done.stdout + done.stderr
        said = [line for line in done.stderr.splitlines() if not line.startswith("Compiling kernels")]
        assert len(said) <= (code > 0)
    assert Path("image_Probabilities.h5").exists()


def test_the_executable_takes_the_same_flags(flat, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["brushwork-ilastik", "--headless", f"--project={flat}", "--debug", "image.npy"])
    with pytest.raises(SystemExit) as left:
        command.run()
    assert left.value.code == 0
    assert Path("image_Probabilities.h5").exists()


# -- training ----------------------------------------------------------------------------------------------------------


def test_a_project_without_a_forest_is_trained_for_the_run(tmp_path, capsys):
    project = project_of(tmp_path, PLANE, forests=None, names=("a", "b", "unpainted"))
    before = project.read_bytes()
    ilastik(project, "image.npy")
    assert "no classifier that can be used" in capsys.readouterr().out
    found = exported("image_Probabilities.h5")
    assert found.shape == (40, 50, 3)
    assert not found[..., 2].any()  # a class without labels has no probability
    assert np.allclose(found.sum(-1), 1, atol=1e-2)
    painted = found[4:10, 5:12].argmax(-1)[LABELS > 0] + 1
    assert (painted == LABELS[LABELS > 0]).mean() > 0.9
    assert project.read_bytes() == before


@pytest.mark.parametrize("told", ["", OLD, None])
def test_images_at_hand_tell_how_an_old_project_computed(tmp_path, monkeypatch, told):
    chosen, forests = {IDS[4]: (1.0,)}, random_forests(0, (8, 7), 2, 2)
    project = project_of(tmp_path, PLANE, version="1.2.2", chosen=chosen, forests=forests)
    seen = []
    monkeypatch.setattr(headless_results, "tell_dialect", lambda _, examples: seen.extend(examples) or told)
    ilastik(project, "image.npy")
    model = classifier_of(open_ilp(project), dialect=OLD if told is None else told)
    assert np.array_equal(exported("image_Probabilities.h5"), np.moveaxis(model.predict_array(PLANE), 0, -1))
    assert [len(labels) for _, labels in seen] == [(LABELS > 0).sum()]


def test_a_project_without_labels_cannot_be_trained(tmp_path, capsys):
    project = project_of(tmp_path, PLANE, forests=None, blocks=())
    ilastik(project, "image.npy", code=1)
    assert "no labels to train on" in capsys.readouterr().err


def test_retraining_and_its_settings(flat):
    flags = ("--retrain", "--tree-count=20", "--label-proportion=0.8", "--variable-importance-path=shares.txt")
    ilastik(flat, *flags, "image.npy")
    assert not np.array_equal(exported("image_Probabilities.h5"), probabilities(flat, PLANE))
    shares = [line.split("\t") for line in Path("shares.txt").read_text().splitlines()]
    assert len(shares) == 4
    assert sum(float(share) for _, share in shares) == pytest.approx(1, abs=1e-3)
    lessons = headless_results.lessons_of(open_ilp(flat), headless_results.Training(trees=20))
    stages = headless_results.trained_stages(lessons)
    assert len(stages[0].classifier.estimator.arrays()["leaves"]) == 20


def test_both_stages_are_retrained(tmp_path):
    project = project_of(tmp_path, PLANE, workflow="AutocontextTwoStage", forests=None)
    blocks = (((4, 5), LABELS),)
    write_ilp(project, chosen={IDS[0]: (0.7,)}, in_2d=True, suffix="01", blocks=blocks, label_axes="yx")
    ilastik(project, "image.npy")
    assert exported("image_Probabilities Stage 2.h5").shape == (40, 50, 2)


# -- ilastik's own results ---------------------------------------------------------------------------------------------

PLAIN = [(f"pc/PixelClassification{n}.ilp", f"pc/{n}.h5/data", "", f"pc/{n}_Probabilities.h5")
         for n in ("2d", "2d3c", "3d", "3d1c", "3d2c", "5t2d1c", "5t2d2c", "5t3d2c")]  # fmt: skip
GOLDEN = [
    *PLAIN,
    ("api/PixelClass.ilp", "api/Data_1channel.png", "", "api/res-Data_1channel_pc1xyc.npy"),
    ("api/2464_PixelClassification_xy_input.ilp", "api/Data_1channel.png", "", "api/res-Data_1channel_pc1xy.npy"),
    ("api/PixelClass3Channel.ilp", "api/Data_3channel.png", "", "api/res-Data_3channel_pc3c.npy"),
    ("api/PixelClass3D.ilp", "api/Data_3D.npy", "", "api/res-Data_3D_pc3d.npy"),
    ("api/PixelClass3D_2D_3D_feature_mix.ilp", "api/Data_3D.npy", "", "api/res-Data_3D_pc3d2dfm.npy"),
    ("api/Autocontext_2D.ilp", "api/Data_1channel.png", "Probabilities Stage 1", "api/res-Data_1channel_ac2ds1.npy"),
    ("api/Autocontext_2D.ilp", "api/Data_1channel.png", "Probabilities Stage 2", "api/res-Data_1channel_ac2ds2.npy"),
    ("api/Autocontext_3D.ilp", "api/Data_3D.npy", "Probabilities Stage 1", "api/res-Data_3D_ac2ds1.npy"),
    ("api/Autocontext_3D.ilp", "api/Data_3D.npy", "Probabilities Stage 2", "api/res-Data_3D_ac2ds2.npy"),
]


@pytest.mark.parametrize(
    ("project", "image", "source", "result"), GOLDEN, ids=lambda v: Path(v).name if v else "default"
)
def test_results_are_those_of_ilastik(test_data, project, image, source, result):
    folder = test_data / "e1_ilastik_golden"
    flags = [f"--export_source={source}"] if source else []
    ilastik(
        folder / project, *flags, "--output_format=hdf5", "--output_filename_format=mine", "--raw_data", folder / image
    )
    found = exported("mine.h5")
    expected = np.load(folder / result) if result.endswith(".npy") else exported(folder / result)
    assert found.shape == expected.shape
    off = np.abs(found - expected)
    assert (off >= 0.015).mean() < 1e-3
    assert off.max() < 0.15
    assert (found.argmax(-1) != expected.argmax(-1)).mean() <= 5e-5


def test_a_project_without_pixel_classification_is_told(test_data, capsys):
    project = test_data / "e2_ilastik_versions" / "other-workflows" / "counting-0.6.ilp"
    ilastik(project, "a.png", code=1)
    assert str(project) in capsys.readouterr().err


def test_the_values_of_a_result_are_of_its_region(flat):
    project = open_ilp(flat)
    given = headless_inputs.open_input(project, "image.npy")
    result = headless_results.result_of(project, "Probabilities", headless_results.stored_stages(project), given)
    assert np.array_equal(np.moveaxis(result.values(whole(PLANE.shape)), 0, -1), probabilities(flat, PLANE))
    with pytest.raises(InputError, match="no file matches"):
        headless_inputs.open_input(project, "absent_*.tif")
