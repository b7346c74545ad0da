"""Maps in 3D: the fast kernels equal the specification, and never know how a block was cut."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brushwork.kernels import scale3d
from brushwork.kernels.compile import kernel
from brushwork.kernels.eigenvalues import APART, PROJECTION, eigenvalues
from brushwork.kernels.filters import STENCIL_RADIUS, presmoothing, stencil_coefficients
from brushwork.kernels.mirror import mirrored
from brushwork.kernels.scale3d import Scale3D, Stream3D
from brushwork.kernels.simd import LANES, load, store
from specification import FAMILIES
from specification import maps as specified

TOLERANCE = 1e-5  # of the image's largest magnitude, squared for the structure tensor
SUBNORMAL = 1e-38  # differences of eigenvalues below it are taken for 0
ALL = tuple(range(10))
TENSOR = slice(scale3d.TENSOR, scale3d.TENSOR + 3)


def scale(sigma, outputs=ALL, channel=0):
    """sigma : pixels, one or one per axis."""
    z, y, x = np.broadcast_to(sigma, 3)
    coefficients = np.array([stencil_coefficients(s) for s in (z, y, x)])
    return Scale3D((presmoothing(z), presmoothing(y), presmoothing(x)), coefficients, np.array(outputs), channel)


def halo_of(scales):
    return tuple(int(max(s.radii[axis] for s in scales)) + STENCIL_RADIUS for axis in range(3))


def collected(stream, image, start=(0, 0, 0), stop=None, halo=None):
    """(n_maps, *region) maps of a region of image (c, z, y, x), computed as one block."""
    shape = image.shape[1:]
    stop, halo = stop or shape, halo or halo_of(stream.scales)
    axes = [mirrored(np.arange(a - h, b + h), n) for a, b, h, n in zip(start, stop, halo, shape)]
    block = np.stack([channel[np.ix_(*(positions for positions, _ in axes))] for channel in image])
    out = np.full((stream.n_maps, *(b - a for a, b in zip(start, stop))), np.nan, np.float32)
    for tile in stream.tiles(block, halo, [signs for _, signs in axes]):
        assert tile.maps.flags.c_contiguous
        valid = tile.maps[..., : tile.x1 - tile.x0]
        out[:, tile.z0 : tile.z1, tile.y0 : tile.y1, tile.x0 : tile.x1] = valid
    return out


def maps(image, sigma):
    return collected(Stream3D([scale(sigma)], 10), image[np.newaxis])


def noise(shape, seed=0):
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def assert_as_specified(image, sigma):
    found = maps(image, sigma)
    wanted = np.concatenate([specified(image, sigma, family) for family in FAMILIES])
    magnitude = max(float(np.abs(image).max()), 1e-30)
    np.testing.assert_allclose(found[TENSOR], wanted[TENSOR], rtol=0, atol=TOLERANCE * magnitude**2)
    for rest in (slice(0, scale3d.TENSOR), slice(scale3d.HESSIAN, 10)):
        np.testing.assert_allclose(found[rest], wanted[rest], rtol=0, atol=TOLERANCE * magnitude)


@pytest.mark.parametrize("sigma", [0.3, 0.7, 1.0, 1.6, 3.5, 5.0, 10.0, (0.4, 1.0, 2.0), (1.0, 6.0, 0.1)])
def test_maps_are_as_specified(sigma):
    assert_as_specified(noise((11, 39, 70)), sigma)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 7), (1, 40, 1), (20, 1, 33), (2, 2, 2), (9, 33, 65)])
@pytest.mark.parametrize("sigma", [0.7, 1.6, 5.0])
def test_blocks_may_be_smaller_than_their_filters(shape, sigma):
    assert_as_specified(noise(shape), sigma)


def awkward_images():
    """Where eigenvalues coincide, vanish, or are small beside the image."""
    shape = 12, 20, 24
    z, y, x = np.indices(shape, dtype=np.float32)
    random = noise(shape)
    return {
        "zero": np.zeros(shape, np.float32),
        "constant": np.full(shape, 7, np.float32),
        "offset": 30000 + 100 * random,
        "negative": -50 * random,
        "spikes": (random > 0.995) * np.float32(4000),
        "one spike": (random == random.max()) * np.float32(1),
        "equal rows": np.broadcast_to(random[:1, :1], shape).copy(),
        "plane": 3 * x - y + 2 * z,
        "sphere": (x - 11) ** 2 + (y - 9) ** 2 + (z - 6) ** 2,
        "cylinder": (x - 11) ** 2 + (y - 9) ** 2,
        "blob": np.exp(-((x - 11) ** 2 + (y - 9) ** 2 + (z - 6) ** 2) / 8),
        "large": random * np.float32(1e15),
        "small": random * np.float32(1e-15),
    }


@pytest.mark.parametrize("sigma", [0.7, 1.6, 3.5])
@pytest.mark.parametrize("name", awkward_images())
def test_maps_of_awkward_images(name, sigma):
    assert_as_specified(awkward_images()[name].astype(np.float32), sigma)


sizes = st.integers(1, 75)
sigmas = st.sampled_from([0.3, 0.7, 1.0, 1.6, 3.5, 5.0])


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 24), sizes, sizes),
    sigma=st.one_of(sigmas, st.tuples(sigmas, sigmas, sigmas)),
    cut=st.tuples(*[st.tuples(st.floats(0, 1), st.floats(0, 1))] * 3),
    extra_halo=st.integers(0, 5),
)
def test_a_part_equals_the_whole(shape, sigma, cut, extra_halo):
    image = noise(shape)[np.newaxis]
    start = tuple(min(int(min(c) * n), n - 1) for c, n in zip(cut, shape))
    stop = tuple(max(round(max(c) * n), a + 1) for c, n, a in zip(cut, shape, start))
    stream = Stream3D([scale(sigma)], 10)
    whole = collected(stream, image)
    halo = tuple(h + extra_halo for h in halo_of(stream.scales))
    part = collected(stream, image, start, stop, halo)  # the same stream: nothing of the last block may show
    here = tuple(slice(a, b) for a, b in zip(start, stop))
    np.testing.assert_array_equal(part, whole[:, *here])


def test_a_halo_that_is_too_small_is_refused():
    stream = Stream3D([scale(1.0)], 10)
    with pytest.raises(ValueError, match=r"halo is \(7, 6, 7\) voxels; its scales need \(7, 7, 7\)"):
        collected(stream, noise((1, 8, 8, 8)), halo=(7, 6, 7))


def test_every_voxel_of_the_halo_counts():
    """One voxel less would be wrong: the outermost one is seen, by the structure tensor, at every scale."""
    for sigma in (1.0, 5.0):
        stream = Stream3D([scale(sigma)], 10)
        h = halo_of(stream.scales)[0]
        image = noise((1, *(2 * h + 1,) * 3))
        inside, changed = ((h, h, h), (h + 1, h + 1, h + 1)), image.copy()
        changed[0, 0] *= 1000
        assert (collected(stream, image, *inside) != collected(stream, changed, *inside)).any()


@pytest.mark.parametrize("sigma", [0.7, 5.0])
@pytest.mark.parametrize(
    "wanted",
    [{0}, {1}, {2}, {3}, {4, 5, 6}, {7, 8, 9}, {0, 4, 5, 6}, {1, 7, 8, 9}, {0, 1, 2, 3}],
)
def test_what_is_not_wanted_changes_nothing(sigma, wanted):
    image = noise((1, 9, 35, 40))
    everything = collected(Stream3D([scale(sigma)], 10), image)
    places = {m: i for i, m in enumerate(sorted(wanted))}
    some = collected(Stream3D([scale(sigma, [places.get(m, -1) for m in range(10)])], len(wanted)), image)
    np.testing.assert_array_equal(some, everything[sorted(wanted)])


def test_scales_and_channels_share_a_tile():
    image = noise((2, 13, 40, 70))
    scales = [
        scale(1.6, range(10, 20), channel=1),
        scale(5.0, range(10), channel=0),
        scale((0.3, 0.3, 5.0), [20, *[-1] * 9], channel=1),
    ]
    together = collected(Stream3D(scales, 21), image)
    np.testing.assert_array_equal(together[10:20], maps(image[1], 1.6))
    np.testing.assert_array_equal(together[:10], maps(image[0], 5.0))
    np.testing.assert_array_equal(together[20], maps(image[1], (0.3, 0.3, 5.0))[0])


def test_maps_of_others_are_left_alone():
    stream = Stream3D([scale(1.0, [1, *[-1] * 9])], 2)
    tiles = stream.tiles(noise((1, 24, 24, 24)), (7, 7, 7), [np.ones(24, np.float32)] * 3)
    first = next(tiles)
    first.maps[0] = 5
    assert (next(tiles).maps[0] == 5).all()


@pytest.mark.parametrize(
    ("length", "longest", "unit", "expected"),
    [
        (1, 32, 1, [(0, 1)]),
        (33, 32, 1, [(0, 17), (17, 33)]),
        (64, 64, 16, [(0, 64)]),
        (65, 64, 16, [(0, 48), (48, 65)]),
    ],
)
def test_parts_are_about_equal(length, longest, unit, expected):
    assert scale3d.parts(length, longest, unit) == expected


# -- eigenvalues -----------------------------------------------------------------------------------------------------------


def test_polynomials_are_the_functions_they_stand_for():
    r = np.linspace(0, 1, 1001)
    apart = 2 * np.cos(np.arccos(r) / 3)
    np.testing.assert_allclose(np.polynomial.Polynomial(APART)(r), apart, rtol=0, atol=2e-7)
    np.testing.assert_allclose(np.polynomial.Polynomial(PROJECTION)(r), apart / (2 * apart**2 - 2), rtol=0, atol=2e-7)


@kernel
def eigenvalues_of_rows(entries, n, out):
    """entries : xx, yy, zz, xy, xz, yz, n values each."""
    for i in range(0, n, LANES):
        first, second, third = eigenvalues(
            load(entries, i),
            load(entries, i + n),
            load(entries, i + 2 * n),
            load(entries, i + 3 * n),
            load(entries, i + 4 * n),
            load(entries, i + 5 * n),
        )
        store(out, i, first)
        store(out, i + n, second)
        store(out, i + 2 * n, third)


def assert_eigenvalues(matrices):
    """matrices : (n, 3, 3), n a multiple of 16."""
    n = len(matrices)
    matrices = matrices.astype(np.float32)
    entries = np.concatenate([matrices[:, i, j] for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))])
    found = np.zeros(3 * n, np.float32)
    eigenvalues_of_rows(entries, n, found)
    wanted = np.linalg.eigvalsh(matrices.astype(float))[:, ::-1]
    largest = np.abs(matrices).max((1, 2))
    error = np.abs(found.reshape(3, n).T - wanted).max(1)
    assert (error <= 2e-6 * largest + SUBNORMAL).all()


def turned(*values, n=1600):
    """n matrices with these eigenvalues."""
    axes = np.linalg.qr(np.random.default_rng(1).standard_normal((n, 3, 3)))[0]
    return axes @ np.diag(values) @ axes.transpose(0, 2, 1)


@pytest.mark.parametrize(
    "values",
    [
        (1, 0, 0),
        (1, 1, 0),
        (0, 0, -1),
        (1, 1, 1),
        (1, 1, 1 + 1e-4),
        (2, 1, 1),
        (2, 1, 1 - 1e-6),
        (1, 1e-3, 1e-3),
        (1, 0, -1),
        (1e-6, 0, 0),
    ],
)
def test_eigenvalues_of_degenerate_matrices(values):
    assert_eigenvalues(turned(*values))


@pytest.mark.parametrize("magnitude", [1e-42, 1e-36, 1e-15, 1.0, 1e15, 1e36])
def test_eigenvalues_of_any_magnitude(magnitude):
    matrices = np.random.default_rng(2).uniform(-1, 1, (1600, 3, 3))
    assert_eigenvalues((matrices + matrices.transpose(0, 2, 1)) * magnitude)


def test_eigenvalues_of_the_zero_matrix_and_of_diagonal_ones():
    diagonal = np.array(
        [(0, 0, 0), (1, 2, 3), (3, 1, 2), (-1, 0, 5), (4, 4, 0), (0, 7, 7), (-2, -2, -2), (1e-20, 1, 1)]
    )
    assert_eigenvalues(np.tile(diagonal, (2, 1))[:, :, np.newaxis] * np.eye(3))
