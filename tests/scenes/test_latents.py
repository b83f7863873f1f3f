"""Fields whose features are a prior's latents."""

from dataclasses import replace

import pytest
import torch

from scorelift.core.camera_samplers import ring
from scorelift.core.errors import ScoreliftError
from scorelift.export.pictures import head_light
from scorelift.recipes import find_recipe
from scorelift.scenes import VoxelConfig, build_scene
from scorelift.scenes.fields import Field


def scene(channels: int):
    torch.manual_seed(0)
    made = build_scene(VoxelConfig(resolution=12, latent=channels, albedo_spread=1.0, environment=True))
    made.environment.colours.data.normal_()
    return made


def test_latents_are_composited_as_they_are_by_both_renderers(monkeypatch):
    fast, plain = scene(4), scene(4)
    grads = []
    upstream = torch.randn(2, 4, 10, 10, generator=torch.Generator().manual_seed(1))
    for made in (fast, plain):
        if made is plain:
            monkeypatch.setattr(type(made.field), "integrate", Field.integrate)
        render = made.render(ring(2), 10)
        assert render.rgb.shape == (2, 4, 10, 10)
        (render.rgb * upstream).sum().backward()
        grads.append((render.rgb.detach(), *(p.grad for p in made.parameters())))
    assert grads[0][0].min() < -0.5  # not squeezed into colours
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, atol=2e-4, rtol=1e-3)


def test_more_channels_than_the_compiled_renderer_holds():
    render = scene(16).render(ring(1), 8)
    assert render.rgb.shape == (1, 16, 8, 8)


def test_people_see_latents_by_their_linear_look():
    made = scene(4)
    look = torch.randn(5, 3, generator=torch.Generator().manual_seed(2)) * 0.05
    look[-1] = 0.5
    made.look_by(look)
    seen = made.coloured()
    assert not seen.latent
    expected = torch.einsum("bchw,cd->bdhw", made.render(ring(2), 8).rgb, look[:-1]) + look[-1].view(3, 1, 1)
    torch.testing.assert_close(seen.render(ring(2), 8).rgb, expected, atol=0.02, rtol=0)  # sigmoids bend a little


def test_latents_have_no_light():
    with pytest.raises(ScoreliftError, match="albedo for a field of latents"):
        scene(4).render(ring(1), 8, shading="textureless", lights=head_light(ring(1)))


def test_recipes_render_latents_for_latent_priors_only():
    recipe = find_recipe("sjc", None)
    assert recipe.fitted(0).field.scene.latent == 0
    assert recipe.fitted(4).field.scene.latent == 4
    assert recipe.fitted(4).fitted(4) == recipe.fitted(4)
    assert recipe.fitted(4).field.size == recipe.fitted(0, 96).field.size == recipe.field.size
    assert recipe.fitted(4, 96).field.size == 96  # the latents' own size
    other = replace(recipe, field=replace(recipe.field, scene=replace(recipe.field.scene, latent=4)))
    assert other.fitted(4) == recipe.fitted(4)
    for channels, knows in ((0, "0, for the prior works on pixels"), (16, "16, the channels of the prior's latents")):
        with pytest.raises(ScoreliftError, match=rf"field\.scene\.latent: expected {knows}, got 4\. Leave it out"):
            other.fitted(channels)
    quick = find_recipe("quick", None)
    assert quick.fitted(0) == quick
    assert {stage.slices for stage in quick.fitted(4).stages().values()} == {quick.shape.views}  # one by one
    assert quick.fitted(4).fitted(4) == quick.fitted(4)
    with pytest.raises(ScoreliftError, match=r"surface\.latent"):
        replace(quick, surface=replace(quick.surface, latent=True)).fitted(4)


def test_a_scene_of_colours_begins_as_latents_look():
    made = scene(4)
    made.look_by(torch.randn(5, 3, generator=torch.Generator().manual_seed(2)) * 0.1)
    colours = build_scene(VoxelConfig(resolution=12, environment=True), made)
    assert not colours.latent
    torch.testing.assert_close(colours.render(ring(2), 8).rgb, made.coloured().render(ring(2), 8).rgb)
    assert made.latent  # as it was
    with pytest.raises(ScoreliftError, match=r"latent: expected 4, as .*, got 16"):
        build_scene(VoxelConfig(resolution=12, latent=16), made)
    with pytest.raises(ScoreliftError, match=r"latent: expected 0, as .*, got 4"):
        build_scene(VoxelConfig(resolution=12, latent=4), colours)
