import torch

from scorelift.kernels.trilinear import corners, gather, trilinear_reference


def interpolate(grid, points):
    return gather(grid, *corners(points, grid.shape[0]))


def test_voxel_centres_and_middles_by_hand():
    grid = torch.arange(8.0).view(2, 2, 2, 1)
    points = torch.tensor([[-1.0, -1, -1], [1, 1, 1], [0, 0, 0], [1, -1, 0]])
    torch.testing.assert_close(interpolate(grid, points)[:, 0], torch.tensor([0.0, 7.0, 3.5, 4.5]))


def test_agrees_with_grid_sample(generator):
    grid = torch.randn(7, 7, 7, 4, generator=generator, dtype=torch.float64)
    points = torch.rand(200, 3, generator=generator, dtype=torch.float64) * 2.4 - 1.2
    torch.testing.assert_close(interpolate(grid, points), trilinear_reference(grid, points))


def test_gradient_of_the_grid(generator):
    grid = torch.randn(3, 3, 3, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    points = torch.rand(6, 3, generator=generator, dtype=torch.float64) * 2 - 1
    assert torch.autograd.gradcheck(lambda g: interpolate(g, points), (grid,))
    weight = torch.randn(6, 2, generator=generator, dtype=torch.float64)
    (fast,) = torch.autograd.grad((interpolate(grid, points) * weight).sum(), grid)
    (plain,) = torch.autograd.grad((trilinear_reference(grid, points) * weight).sum(), grid)
    torch.testing.assert_close(fast, plain)
