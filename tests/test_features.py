"""What features are, and that it never matters how an image is cut."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brushwork import tiling
from brushwork.blocks import Block, Region, grid, whole
from brushwork.errors import InputError
from brushwork.features import FAMILIES, GRAMMAR, PRESETS, SIGMAS, Feature, FeatureSet, n_maps_of, selection
from brushwork.image import as_image
from brushwork.scalespace import BUILT_IN, Family
from specification import maps as specified

TOLERANCE = 1e-5  # of the image's largest magnitude, squared for the structure tensor


def noise(shape, seed=0, scale=100.0):
    return (np.random.default_rng(seed).random(shape) * scale).astype(np.float32)


def on(array, text, **options):
    """(image, resolved features) with sigmas of any size."""
    image = as_image(array, **options)
    ndim = len(image.shape)
    channels = tuple(range(len(image.channel_names)))
    features = [
        Feature(f.family, f.sigma, f.unit, f.channels or channels, ndim == 2 if f.in_2d is None else f.in_2d)
        for f in FeatureSet.parse(text).features
    ]
    return image, FeatureSet(tuple(features))


def whole_maps(image, features):
    return features.at(image, features.block(image, whole(image.shape)))


def assert_as_specified(array, text, in_2d):
    image, features = on(array, text)
    found = whole_maps(image, features)
    assert np.isfinite(found).all()
    magnitude = max(float(np.abs(array).max()), 1e-30)
    at = 0
    for f in features.features:
        n = n_maps_of(f)
        sections = array if in_2d and array.ndim == 3 else [array]
        wanted = [specified(section, f.sigma, f.family) for section in sections]
        wanted = np.stack(wanted, 1) if len(sections) > 1 or sections is array else wanted[0]
        tolerance = TOLERANCE * (magnitude**2 if f.family == "structure-tensor" else magnitude)
        np.testing.assert_allclose(found[at : at + n], wanted, rtol=0, atol=tolerance, err_msg=f.label())
        at += n


EVERYTHING = "gaussian:0.3 *:" + ",".join(f"{s:g}" for s in SIGMAS)


@pytest.mark.parametrize("shape", [(64, 256), (37, 41), (129, 300), (5, 7), (1, 9), (9, 1), (1, 1), (2, 2), (3, 80)])
def test_maps_are_as_specified_2d(shape):
    assert_as_specified(noise(shape), EVERYTHING, in_2d=True)


@pytest.mark.parametrize("kind", ["constant", "offset", "spikes", "ramp"])
def test_maps_are_as_specified_on_awkward_images(kind):
    y, x = np.mgrid[:50, :70].astype(np.float32)
    array = {
        "constant": np.full((50, 70), 7, np.float32),
        "offset": 30000 + noise((50, 70)),
        "spikes": (noise((50, 70)) > 99).astype(np.float32) * 4000,
        "ramp": 3 * x - y,
    }[kind]
    assert_as_specified(array, EVERYTHING, in_2d=True)


def test_maps_per_section_are_those_of_the_sections():
    stack = noise((4, 40, 50))
    assert_as_specified(stack, "gaussian:0.3/2d *:0.7,1.6,3.5/2d", in_2d=True)


def test_constant_image_answers_its_value_or_nothing():
    image, features = on(np.full((40, 40), 5, np.float32), "gaussian:1 hessian:1 structure-tensor:3.5 laplacian:10")
    maps = whole_maps(image, features)
    np.testing.assert_allclose(maps[0], 5, rtol=1e-6)
    np.testing.assert_allclose(maps[1:], 0, atol=5e-6)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_blocks_equal_whole_bit_for_bit(data):
    ndim = data.draw(st.sampled_from([2, 2, 3]))
    longest = 90 if ndim == 2 else 14
    shape = tuple(data.draw(st.lists(st.integers(1, longest), min_size=ndim, max_size=ndim)))
    edge = tuple(data.draw(st.lists(st.integers(3, longest), min_size=ndim, max_size=ndim)))
    mode = "/2d" if ndim == 3 and data.draw(st.booleans()) else ""
    sigma = data.draw(st.sampled_from([0.7, 1.0, 1.6, 2.5, 3.5]))
    unit = data.draw(st.sampled_from(["", "um"]))
    spacing = (2.0, 1.0, 0.8)[-ndim:]
    image, features = on(noise(shape), f"*:{sigma}{unit}{mode}", pixel_size=spacing)
    expected = whole_maps(image, features)
    for region in grid(whole(shape), edge):
        part = features.at(image, features.block(image, region))
        np.testing.assert_array_equal(part, expected[(slice(None), *region.slices)])


def test_tile_size_never_matters(monkeypatch):
    image, features = on(noise((70, 300)), EVERYTHING)
    expected = whole_maps(image, features)
    monkeypatch.setattr(tiling, "TILE_WIDTH", 32)
    monkeypatch.setattr(tiling, "TILE_HEIGHT", 5)
    np.testing.assert_array_equal(whole_maps(image, features), expected)


@pytest.mark.parametrize("family", BUILT_IN)
@pytest.mark.parametrize("sigma", [1.0, 3.5, 10.0])
def test_a_smaller_halo_gives_another_answer(family, sigma):
    """Structure far away is seen through the whole halo, so one pixel less must show."""
    image, features = on(noise((120, 120), scale=1e6), f"{family}:{sigma}")
    centre = Region((60, 60), (61, 61))
    (halo, _) = features.halo(image)
    right = features.at(image, features.block(image, centre))
    seen = image.source[60 - halo : 61 + halo, 60 - halo : 61 + halo]
    enough, too_small = as_image(seen), as_image(seen[1:-1, 1:-1])
    middle = Region((halo, halo), (halo + 1, halo + 1))
    np.testing.assert_array_equal(features.at(enough, Block(middle, whole(enough.shape))), right)
    middle = Region((halo - 1, halo - 1), (halo, halo))
    assert (features.at(too_small, Block(middle, whole(too_small.shape))) != right).any()


@pytest.mark.parametrize("dialect", ["", "ilastik<1.3"])
def test_fused_kernels_agree_with_the_plain_scale_space(monkeypatch, dialect):
    image, features = on(noise((60, 90), scale=1), "gaussian:0.3 *:0.7,1.6,3.5")
    features = FeatureSet(tuple(replace(f, dialect=dialect) for f in features.features))
    fused = whole_maps(image, features)
    monkeypatch.setattr(tiling.Request, "is_built_in", False)
    tiling.Sections.of.cache_clear()
    plain = whole_maps(image, features)
    tiling.Sections.of.cache_clear()
    np.testing.assert_allclose(fused, plain, rtol=0, atol=TOLERANCE)


# -- the structure tensor of ilastik before 1.3 -----------------------------------------------------------------------------------

FORMER = "ilastik<1.3"


def former(features):
    """The same features; structure tensors are those of ilastik before 1.3."""
    return FeatureSet(tuple(replace(f, dialect=FORMER * (f.family == "structure-tensor")) for f in features.features))


@pytest.mark.parametrize("shape", [(64, 256), (37, 41), (1, 9), (3, 80), (11, 39, 70), (3, 5, 7), (1, 40, 1)])
@pytest.mark.parametrize("sigma", [0.7, 0.74, 1.0, 1.6, 5.0])
def test_former_structure_tensors_are_as_specified(shape, sigma):
    array = noise(shape, scale=1)
    tensor = Feature("structure-tensor", sigma, "px", (0,), len(shape) == 2, FORMER)
    found = whole_maps(as_image(array), FeatureSet((tensor,)))
    from_former, from_today = (
        np.abs(found - specified(array, sigma, "structure-tensor", dialect)).max() for dialect in (FORMER, "")
    )
    assert from_former <= min(TOLERANCE, from_today / 100)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_blocks_of_former_structure_tensors_equal_whole_bit_for_bit(data):
    ndim = data.draw(st.sampled_from([2, 3]))
    longest = 90 if ndim == 2 else 20
    shape = tuple(data.draw(st.lists(st.integers(1, longest), min_size=ndim, max_size=ndim)))
    edge = tuple(data.draw(st.lists(st.integers(3, longest), min_size=ndim, max_size=ndim)))
    mode = "/2d" if ndim == 3 and data.draw(st.booleans()) else ""
    sigma = data.draw(st.sampled_from(["0.7", "1", "1.6", "3.5", "1.6um"]))
    image, features = on(noise(shape), f"*:{sigma}{mode}", pixel_size=(2.0, 1.0, 0.8)[-ndim:])
    expected = whole_maps(image, former(features))
    for region in grid(whole(shape), edge):
        part = former(features).at(image, features.block(image, region))
        np.testing.assert_array_equal(part, expected[(slice(None), *region.slices)])


@pytest.mark.parametrize("text", ["*:0.7,1.6,3.5/2d", "*:0.7,1.6,3.5/3d", "*:1/2d *:1.6/3d"])
def test_both_structure_tensors_of_one_scale_leave_each_other_and_the_rest_alone(text):
    image, today = on(noise((9, 40, 50), scale=1), text)
    tensors = tuple(f for f in former(today).features if f.dialect)
    together = whole_maps(image, FeatureSet((*today.features, *tensors)))
    np.testing.assert_array_equal(together[: today.n_maps], whole_maps(image, today))
    np.testing.assert_array_equal(together[today.n_maps :], whole_maps(image, FeatureSet(tensors)))
    mixed = whole_maps(image, former(today))
    names = [f for f in former(today).features for _ in range(n_maps_of(f))]
    unchanged = [not f.dialect for f in names]
    np.testing.assert_array_equal(mixed[unchanged], together[: today.n_maps][unchanged])


def test_micrometres_are_divided_by_the_pixel_size_of_each_axis():
    array = noise((60, 60))
    image, features = on(array, "gaussian:2um gradient-magnitude:2um", pixel_size=(0.5, 0.5))
    _, in_pixels = on(array, "gaussian:4 gradient-magnitude:4")
    np.testing.assert_array_equal(whole_maps(image, features), whole_maps(image, in_pixels))
    stretched, features = on(np.repeat(array, 2, 1), "gaussian:2um", pixel_size=(1, 0.5))
    assert features.halo(stretched)[1] > features.halo(stretched)[0]


def test_micrometres_need_a_pixel_size():
    image, features = on(noise((60, 60)), "gaussian:2um")
    with pytest.raises(InputError, match="pixel size is known"):
        whole_maps(image, features)


def test_channels_are_filtered_apart():
    array = noise((3, 50, 60))
    image = as_image(array, axes="cyx")
    features = FeatureSet.parse("gaussian@0,2:1 hessian@1:1.6").resolved(image)
    maps = whole_maps(image, features)
    assert features.n_maps == 4
    for position, channel, text in [(0, 0, "gaussian:1"), (1, 2, "gaussian:1"), (2, 1, "hessian:1.6")]:
        alone, one = on(array[channel], text)
        np.testing.assert_array_equal(maps[position], whole_maps(alone, one)[0])


def test_a_family_of_your_own_in_a_few_lines(monkeypatch):
    def double(space):
        return 2 * space.derivative()[None]

    monkeypatch.setitem(
        FAMILIES, "double", Family(double, maps=lambda ndim: 1, reach=lambda sigma: 2, help="twice the Gaussian")
    )
    for shape in [(40, 50), (12, 20, 24)]:
        image, features = on(noise(shape), "double:1.6 gaussian:1.6")
        twice, once = whole_maps(image, features)
        np.testing.assert_allclose(twice, 2 * once, rtol=1e-5)
        block = features.block(image, Region((3,) * len(shape), (9,) * len(shape)))
        np.testing.assert_array_equal(features.at(image, block)[0], twice[(slice(3, 9),) * len(shape)])


def test_the_documentation_s_own_family_works_on_sections_and_volumes(monkeypatch):
    page = (Path(__file__).parents[1] / "docs" / "features.md").read_text()
    code = page.split("## A family of your own")[1].split("```python")[1].split("```")[0]
    monkeypatch.setattr("brushwork.scalespace.FAMILIES", FAMILIES)
    try:
        exec(code, {})
        for text in ("local-range:1/2d", "local-range:1/3d"):
            image, features = on(noise((7, 20, 24)), text)
            part = features.at(image, features.block(image, Region((2, 5, 5), (4, 9, 9))))
            np.testing.assert_array_equal(part, whole_maps(image, features)[:, 2:4, 5:9, 5:9])
    finally:
        FAMILIES.pop("local-range", None)


def test_the_documentation_has_the_grammar():
    page = (Path(__file__).parents[1] / "docs" / "features.md").read_text()
    for line in GRAMMAR.splitlines()[1:]:
        assert line.strip() in page


def test_features_that_measure_the_same_thing_are_refused():
    for text, options in [("gaussian:1 gaussian:1um", {"pixel_size": (1, 1)}), ("gaussian:1 gaussian@0:1", {})]:
        image = as_image(noise((40, 40)), **options)
        with pytest.raises(InputError, match=r"same thing|selected twice"):
            whole_maps(image, FeatureSet.parse(text).resolved(image))


def test_channels_are_named_first_and_counted_second():
    image = as_image(noise((3, 40, 40)), axes="cyx")
    image = type(image)(image.source, "cyx", "", ("405", "488", "DAPI"))
    for name, expected in [("488", 1), ("DAPI", 2), ("0", 0), (0, 0), ("405,405", 0)]:
        text = f"gaussian@{name}:1"
        assert FeatureSet.parse(text).resolved(image).features[0].channels == (expected,)
    chosen = FeatureSet.parse("gaussian@DAPI:1 hessian@DAPI:1").resolved(image)
    assert selection(chosen, 3) == "gaussian@2:1/2d hessian@2:1/2d"
    assert FeatureSet.parse("hessian:1").resolved(image, channels=["DAPI", "488"]).features[0].channels == (2, 1)


def test_families_of_other_packages_are_found(monkeypatch):
    from importlib.metadata import EntryPoint

    from brushwork import scalespace

    entry = EntryPoint("theirs", "brushwork.scalespace:FAMILIES", "brushwork.families")
    theirs = Family(lambda space: space.derivative()[None], maps=lambda ndim: 1, reach=lambda sigma: 2, help="")
    monkeypatch.setattr(EntryPoint, "load", lambda self: theirs)
    monkeypatch.setattr(scalespace, "entry_points", lambda group: [entry])
    monkeypatch.setattr(scalespace, "FAMILIES", FAMILIES)
    try:
        assert FeatureSet.parse("theirs:1").features[0].family == "theirs"
    finally:
        FAMILIES.pop("theirs", None)


def test_nan_and_infinity_are_refused_where_they_are():
    array = noise((40, 40))
    array[3, 5] = np.nan
    image, features = on(array, "gaussian:1")
    with pytest.raises(InputError, match=r"nan at \(3, 5\)"):
        whole_maps(image, features)


# -- selections -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
def test_presets_parse_and_fit_a_usual_image(name):
    features = FeatureSet.preset(name).resolved(as_image(noise((100, 100))))
    assert features.n_maps == len(features.names) == len(set(features.names))
    assert FeatureSet.from_json(features.to_json()) == features
    again = FeatureSet.parse(selection(features, 1)).resolved(as_image(noise((100, 100))))
    assert again.features == features.features


def test_preset_all_has_49_maps_per_channel_in_2d_and_61_in_3d():
    assert FeatureSet.preset("all").resolved(as_image(np.zeros((99, 99)))).n_maps == 49
    assert FeatureSet.preset("all").resolved(as_image(np.zeros((99, 99, 99)))).n_maps == 61


def test_presets_leave_out_what_is_too_large_and_selections_refuse():
    small = as_image(noise((20, 20)))
    kept = FeatureSet.preset("all").resolved(small)
    assert max(f.sigma for f in kept.features) == 5
    with pytest.raises(InputError, match="too large"):
        FeatureSet.parse("gaussian:10").resolved(small)


@pytest.mark.parametrize(
    ("pixel_size", "in_2d"),
    [(None, False), ((2.9, 1, 1), False), ((3, 1, 1), True), ((0.3, 0.1, 0.1), True), ((5, 1, 2), False)],
)
def test_stacks_with_coarse_sections_are_filtered_per_section(pixel_size, in_2d):
    stack = as_image(noise((40, 40, 40)), pixel_size=pixel_size)
    assert {f.in_2d for f in FeatureSet.preset("fast").resolved(stack).features} == {in_2d}
    assert {f.in_2d for f in FeatureSet.parse("gaussian:1/3d").resolved(stack).features} == {False}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("blur:1", "unknown feature family 'blur'; known: gaussian"),
        ("hessian:0.3", "out of range"),
        ("gaussian:1000", "out of range"),
        ("gaussian", "not a feature selection"),
        ("gaussian:1,,2", "not a list of sigmas"),
        ("", "without features"),
        ("gaussian@7:1", "unknown channel '7'"),
        ("gaussian@DAPI:1", "unknown channel 'DAPI'"),
        ("[{", "look like JSON"),
        ('[{"family": "gaussian", "sigma": 1, "dialect": "x"}]', "unknown dialect"),
    ],
)
def test_bad_selections_say_what_is_wrong(text, said):
    with pytest.raises(InputError, match=re.escape(said)):
        FeatureSet.parse(text).resolved(as_image(noise((50, 50))))


# -- three dimensions -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(20, 33, 70), (3, 5, 7), (1, 2, 3), (9, 64, 65), (40, 17, 16)])
def test_maps_are_as_specified_3d(shape):
    assert_as_specified(noise(shape), EVERYTHING, in_2d=False)


def test_sections_and_volumes_mix_in_one_stack():
    image, mixed = on(
        noise((9, 40, 50)), "gaussian:1/2d hessian:1.6 structure-tensor:0.7/2d laplacian:3.5/3d hessian:1/2d"
    )
    maps = whole_maps(image, mixed)
    at = 0
    for f in mixed.features:
        alone = FeatureSet((f,))
        np.testing.assert_array_equal(maps[at : at + alone.n_maps], whole_maps(image, alone))
        at += alone.n_maps
    region = Region((2, 11, 7), (6, 30, 41))
    np.testing.assert_array_equal(mixed.at(image, mixed.block(image, region)), maps[(slice(None), *region.slices)])


def test_channels_of_a_stack_are_filtered_apart():
    array = noise((2, 9, 30, 40))
    image = as_image(array, axes="czyx")
    features = FeatureSet.parse("hessian:1 gaussian@1:1.6").resolved(image)
    maps = whole_maps(image, features)
    for c in (0, 1):
        alone, one = on(array[c], "hessian:1")
        np.testing.assert_array_equal(maps[3 * c : 3 * c + 3], whole_maps(alone, one))
