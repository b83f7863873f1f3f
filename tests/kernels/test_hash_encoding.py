"""The encoding by hand, against plain interpolation, and its compiled form against the reference."""

import pytest
import torch

from scorelift.core.errors import ScoreliftError
from scorelift.kernels.hash_encoding import HashLevels, compiled_form, encode, encode_compiled, encode_reference
from scorelift.kernels.trilinear import trilinear_reference

SMALL = HashLevels(levels=5, features=3, log2_rows=9, coarsest=4, finest=60)
"Two levels with a row a vertex, three that share rows."


@pytest.fixture(params=[1, 2, 3, 7])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def table(levels: HashLevels, dtype=torch.float32) -> torch.Tensor:
    return torch.randn(levels.total, levels.features, dtype=dtype, requires_grad=True)


def points(count: int, dtype=torch.float32) -> torch.Tensor:
    """Some of them outside, on the bounds and on vertices."""
    found = torch.rand(count, 3, dtype=dtype) * 2.4 - 1.2
    found[0], found[1], found[2] = -1.0, 1.0, 0.5
    return found.requires_grad_()


def test_the_papers_levels():
    levels = HashLevels()
    assert (levels.levels, levels.features, levels.width) == (16, 4, 64)
    # Growth 128^(1/15) = 1.38; levels of up to 80 vertices along an edge fit 2^19 rows.
    assert levels.resolutions[:5] == (16, 22, 30, 42, 58)
    assert levels.resolutions[-1] == 2048
    assert levels.dense == (True,) * 5 + (False,) * 11
    assert levels.rows[0] == 17**3
    assert set(levels.rows[5:]) == {2**19}
    assert levels.total == sum(levels.rows) == levels.offsets[-1] + 2**19


def test_one_level_by_hand():
    levels = HashLevels(levels=1, features=1, log2_rows=5, coarsest=2, finest=2)
    assert levels.dense == (True,)
    values = torch.arange(27.0)[:, None]  # 9 x + 3 y + z at the vertex x, y, z: linear
    places = torch.tensor([[-1.0, -1, -1], [1, 1, 1], [0, 0, 0], [-0.5, 0, 0.25], [-3, 0, 0]])
    expected = torch.tensor([0.0, 26, 13, 9 * 0.5 + 3 + 1.25, 4])
    for form in (encode, encode_reference):
        torch.testing.assert_close(form(values, places, levels)[:, 0], expected)


def test_the_hash_by_hand():
    levels = HashLevels(levels=1, features=1, log2_rows=4, coarsest=100, finest=100)
    vertex = torch.tensor([[3, 7, 11], [100, 100, 100], [0, 0, 0]])
    wanted = [((x * 1) ^ (y * 2654435761 % 2**32) ^ (z * 805459861 % 2**32)) % 16 for x, y, z in vertex.tolist()]
    assert levels.at(0, vertex).tolist() == wanted
    values = torch.arange(16.0)[:, None]
    found = encode(values, vertex / 50.0 - 1, levels)[:, 0]
    torch.testing.assert_close(found, torch.tensor(wanted).float(), atol=2e-3, rtol=0)


def test_a_dense_level_is_trilinear_interpolation():
    levels = HashLevels(levels=2, features=3, log2_rows=12, coarsest=7, finest=15)
    assert all(levels.dense)
    values, places = table(levels), points(200)
    found = encode(values, places, levels)
    for level, side in enumerate((8, 16)):
        rows = values[levels.offsets[level] :][: side**3].view(side, side, side, 3)
        torch.testing.assert_close(found[:, 3 * level : 3 * level + 3], trilinear_reference(rows, places))


def test_vertices_that_share_a_row_add_their_gradients():
    levels = HashLevels(levels=1, features=2, log2_rows=1, coarsest=9, finest=9)
    values = table(levels)
    encode(values, points(50), levels).sum().backward()
    # Two rows for a thousand vertices: weights sum to 1 a point and feature, wherever they go.
    torch.testing.assert_close(values.grad.sum(0), torch.full((2,), 50.0))


@pytest.mark.parametrize("wrt", ["table", "points", "both"])
def test_gradients_of_the_reference(wrt):
    levels = HashLevels(levels=3, features=2, log2_rows=5, coarsest=2, finest=6)
    values, places = table(levels, torch.float64), (torch.rand(6, 3, dtype=torch.float64) * 2 - 1).requires_grad_()
    values.requires_grad_(wrt != "points")
    places.requires_grad_(wrt != "table")
    assert torch.autograd.gradcheck(lambda t, p: encode(t, p, levels), (values, places))
    assert torch.autograd.gradgradcheck(lambda t, p: encode(t, p, levels), (values, places))


@pytest.mark.parametrize("features", [1, 2, 3, 4])
def test_the_compiled_form_agrees(features, threads):
    levels = HashLevels(levels=6, features=features, log2_rows=10, coarsest=4, finest=200)
    values, places = table(levels), points(777)
    form = compiled_form("cpu", torch.float32)
    assert form is not None
    wanted = encode_reference(values, places, levels)
    found = encode_compiled(values, places, levels, form)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    pull = torch.randn_like(wanted)
    for got, expected in zip(
        torch.autograd.grad(found, (values, places), pull),
        torch.autograd.grad(wanted, (values, places), pull),
        strict=True,
    ):
        torch.testing.assert_close(got, expected, atol=1e-5 * float(expected.abs().max()), rtol=1e-4)


def test_the_same_bits_whatever_the_threads():
    values, places = table(SMALL), points(999)
    pull, seen, before = torch.randn(999, SMALL.width), [], torch.get_num_threads()
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        found = encode(values, places, SMALL)
        seen.append((found, *torch.autograd.grad(found, (values, places), pull)))
    torch.set_num_threads(before)
    for other in seen[1:]:
        assert all(torch.equal(a, b) for a, b in zip(seen[0], other, strict=True))


def test_second_derivatives_of_the_compiled_form():
    """Normals are gradients on points, and are themselves learned from."""

    def second(dtype):
        torch.manual_seed(1)
        values, places = table(SMALL, torch.float64).detach().to(dtype).requires_grad_(), points(60).to(dtype)
        (slope,) = torch.autograd.grad(encode(values, places, SMALL).square().sum(), places, create_graph=True)
        return torch.autograd.grad(slope.square().sum(), values)[0]

    exact = second(torch.float64)
    torch.testing.assert_close(second(torch.float32).double(), exact, atol=1e-4 * float(exact.abs().max()), rtol=1e-3)


def test_only_what_is_wanted_is_computed():
    values, places = table(SMALL), points(20).detach()
    encode(values, places, SMALL).sum().backward()
    assert places.grad is None
    places.requires_grad_()
    encode(values.detach(), places, SMALL).sum().backward()
    assert places.grad is not None
    outside = places.detach().abs() > 1
    assert outside.any()
    assert float(places.grad[outside].abs().max()) == 0


def test_no_points_and_points_that_are_not_numbers():
    values = table(SMALL)
    nothing = encode(values, torch.zeros(0, 3), SMALL)
    assert nothing.shape == (0, 15)
    nothing.sum().backward()
    assert float(values.grad.abs().max()) == 0
    found = encode(values, torch.full((1, 3), float("nan")), SMALL)
    assert bool(found.isnan().all())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"levels": 0}, "levels: expected a whole number from 1 to 64, got 0"),
        ({"features": 100}, "features: expected a whole number from 1 to 64, got 100"),
        ({"finest": 3}, "finest: expected at least the coarsest resolution, 16, got 3"),
    ],
)
def test_levels_that_make_no_sense(change, said):
    with pytest.raises(ScoreliftError, match=said):
        HashLevels(**change)


def test_a_table_of_another_size():
    with pytest.raises(ScoreliftError, match=r"table: expected \d+ rows of 3 features, got \(7, 3\)"):
        encode(torch.zeros(7, 3), torch.zeros(1, 3), SMALL)
