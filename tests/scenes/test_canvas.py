from dataclasses import replace
from typing import get_args

import pytest
import torch

from scorelift.core.camera_samplers import RingSampler
from scorelift.core.errors import ScoreliftError
from scorelift.core.schedules import Ramp
from scorelift.distill.noise import annealed
from scorelift.distill.sds import SDS
from scorelift.engine.generate import generate
from scorelift.engine.loop import Loop
from scorelift.engine.results import final_scene
from scorelift.engine.run import Run
from scorelift.priors.analytic import GaussianPrior
from scorelift.recipes.canvas import CanvasRecipe, Fall, Method, study
from scorelift.recipes.optimizers import Adam
from scorelift.scenes import Canvas, CanvasConfig, Generated, build_scene


@pytest.mark.parametrize("kind", ["pixels", "mirror", "mlp"])
def test_pictures_follow_their_parameters(kind):
    scene = Canvas(CanvasConfig(kind=kind, pictures=2, resolution=16))
    optimizer = torch.optim.Adam(scene.groups(0.05))
    target = torch.rand(2, 3, 1, 1).expand(2, 3, 16, 16)
    for _ in range(150):
        loss = ((scene.render(RingSampler(count=2).ring(), 16).rgb - target) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 1e-3


def test_the_mirror_mirrors():
    image = Canvas(CanvasConfig(kind="mirror", resolution=16)).picture(16)
    assert torch.equal(image, image.flip(-1))


def test_other_sizes_are_resampled():
    assert Canvas(CanvasConfig(resolution=16)).picture(32).shape == (1, 3, 32, 32)
    assert Canvas(CanvasConfig(kind="mlp", pictures=3)).render_all(8).shape == (3, 8, 24)


def test_bad_sizes():
    with pytest.raises(ScoreliftError, match="resolution"):
        CanvasConfig(resolution=0)


def test_codes_of_a_generator_find_the_nearest_picture_it_can_make():
    """On a Gaussian prior the picture a linear generator ends with is the projection of the prior's mean."""
    generator = torch.Generator().manual_seed(0)
    basis = torch.randn(5, 3 * 4 * 4, generator=generator) * 0.2
    mean = torch.rand(3, 4, 4, generator=generator) * 2 - 1
    prior = GaussianPrior(mean, 0.5)
    scene = Generated(lambda codes: (codes @ basis).view(-1, 3, 4, 4) + 0.5, torch.zeros(1, 5))
    stage = replace(CanvasRecipe().picture, views=1, steps=400, size=4, noise=annealed(0.5, 0.4),
                    distiller=SDS(cfg_scale=1.0, weighting="x0"), optimizer=Adam(rate=Ramp(0.05, 0.001)))  # fmt: skip
    loop = Loop("picture", stage, scene, prior, "x", seed=0)
    while not loop.done:
        loop.one_step()
    flat = mean.flatten() / 2  # rgb - .5
    best = torch.linalg.lstsq(basis.T, flat[:, None]).solution[:, 0]
    torch.testing.assert_close(scene.codes[0].detach(), best, atol=0.05, rtol=0)


def test_a_generator_must_make_pictures():
    with pytest.raises(ScoreliftError, match="generator: expected pictures"):
        Generated(lambda codes: codes, torch.zeros(2, 5))


MINE = """
import torch

def stripes(pictures):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(8, 3 * 32), torch.nn.Sigmoid(), torch.nn.Unflatten(1, (3, 1, 32)))
    return lambda codes: net(codes).expand(-1, 3, 32, 32), torch.zeros(pictures, 8)

def one(pictures):
    return stripes(1)

def nothing(pictures):
    return None
"""


def test_a_run_through_a_generator_of_ones_own(tmp_path, monkeypatch):
    (tmp_path / "my_stripes.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    recipe = study("sjc", "annealed", 3.0, generator="my_stripes:stripes", pictures=2, steps=3, size=32)
    half = generate("a red mushroom", out=tmp_path / "run", recipe=recipe, device="cpu", quiet=True)
    again = Run.open(half.path)
    assert again.recipe.picture.scene.generator == "my_stripes:stripes"
    scene = final_scene(again)
    assert isinstance(scene, Generated)
    assert scene.codes.shape == (2, 8)
    assert float(scene.codes.detach().abs().max()) > 0.01
    picture = scene.picture(32)
    assert torch.equal(picture[:, :, 0], picture[:, :, 31])  # still stripes
    assert (half.path / "preview.png").exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere:stripes", "No module named"), ("my_stripes", "expected module:function"),
        ("my_stripes:spots", "no attribute"), ("my_stripes:nothing", "my_stripes:nothing: None"),
        ("my_stripes:one", "expected 2 codes"), (":stripes", "expected module:function"),
    ],
)  # fmt: skip
def test_what_is_no_generator(tmp_path, monkeypatch, name, said):
    (tmp_path / "my_stripes.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ScoreliftError, match=f"^generator: .*{said}"):
        build_scene(CanvasConfig(generator=name, pictures=2))


def test_a_generator_stands_in_place_of_a_kind():
    with pytest.raises(ScoreliftError, match="kind: expected none beside a generator"):
        CanvasConfig(generator="a:b", kind="mlp")


@pytest.mark.parametrize("method", get_args(Method))
@pytest.mark.parametrize("noise", get_args(Fall))
def test_every_method_has_its_noise(method, noise):
    if (method, noise) == ("apfo", "random"):
        with pytest.raises(ScoreliftError, match="noise: expected annealed or karras for apfo"):
            study(method, noise, 3.0)
        return
    stage = study(method, noise, 3.0, steps=5).picture
    if noise != "random":
        assert (stage.noise.curve == "karras") is (noise == "karras")
    if method in ("jacobian", "mse"):
        assert stage.distiller.target == {"jacobian": "eps", "mse": "x0"}[method]
