"""What a run needs is counted before it starts, and what is counted is what is used."""

from dataclasses import replace

import pytest
import torch
from helpers import ring_stage
from torch import nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from scorelift.cli import main
from scorelift.core.errors import ScoreliftError
from scorelift.core.samplers import ShadingSampler
from scorelift.engine.generate import generate
from scorelift.engine.needs import _measured, scene_bytes
from scorelift.engine.plan import CONTEXT, GIB, SLACK, StagePlan, exhausted, free_of, options, plan, shortage
from scorelift.engine.portions import Portions
from scorelift.engine.remarks import foretold
from scorelift.engine.tally import Tally, attention_without_maps
from scorelift.priors.analytic import GaussianPrior
from scorelift.priors.toybox import weights_path
from scorelift.recipes import find_recipe
from scorelift.recipes.base import LIT
from scorelift.scenes import HashConfig, MeshConfig, MLPConfig, VoxelConfig
from scorelift.scenes.canvas import CanvasConfig

SMALL_HASH = HashConfig(levels=3, finest=16, width=8, coarse_samples=24, blob=10.0, density_bias=5.0)


def test_a_tally_counts_what_lives_once():
    known = torch.zeros(1000)
    with Tally([known]) as tally:
        assert tally.mark() == 4000
        a = known + 1  # 4,000 bytes more
        b = a.view(10, 100)
        c = b.double()  # 8,000
        assert tally.now == 16_000
        del c
        assert (tally.now, tally.peak) == (8000, 16_000)
        a = a.add_(1)
        assert tally.now == 8000
        del a, b
        assert tally.mark() == 4000
        assert tally.peak == 4000
        torch.zeros(2, 3) @ torch.zeros(3, 5)
    assert tally.operations == 2 * 2 * 3 * 5


@pytest.mark.parametrize("learning", [False, True])
def test_attention_never_holds_its_maps(learning):
    q = torch.zeros(1, 2, 4096, 8, device="meta", requires_grad=learning)
    with attention_without_maps(), Tally([q]) as tally:
        start = tally.mark()
        out = F.scaled_dot_product_attention(q, q, q)
        if learning:
            torch.autograd.backward([out], [torch.empty_like(out)])
    assert tally.peak - start < 10 * q.numel() * 4  # a map alone has 2 * 4096^2 numbers
    assert tally.operations >= 2 * 2 * 2 * 4096**2 * 8
    here = torch.rand(1, 2, 5, 8)
    with attention_without_maps():
        torch.testing.assert_close(F.scaled_dot_product_attention(here, here, here).shape, here.shape)
    assert F.scaled_dot_product_attention(q, q, q).shape == q.shape


def profiled_peak(work):
    """Most bytes that torch's own allocator handed out, told by its profiler: another way to count."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as told:
        work()
    events = [e for e in told.profiler.kineto_results.events() if e.name() == "[memory]"]
    now = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak


def test_what_is_counted_without_memory_is_what_is_allocated():
    """A convolutional encoder and back: on tensors without memory, on real ones, and by torch's profiler."""
    blocks = [m for _ in range(8) for m in (nn.Conv2d(16, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.SiLU())]
    net = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), *blocks, nn.Conv2d(16, 4, 3)).requires_grad_(False)

    def work(device):
        picture = torch.ones(1, 3, 128, 128, device=device, requires_grad=True)
        z = net.to(device)(picture)
        torch.autograd.backward([z], [torch.ones_like(z)])

    def counted(device):
        with Tally(net.to(device).parameters()) as tally:
            start = tally.mark()
            work(device)
        return tally.peak - start

    told, real = profiled_peak(lambda: work("cpu")), counted("cpu")
    assert counted("meta") == real
    assert real == pytest.approx(told, rel=0.1)  # convolutions on a CPU have some memory of their own


SCENES = {
    "voxels": VoxelConfig(resolution=16),
    "lit voxels": VoxelConfig(resolution=16, environment=True),
    "network": MLPConfig(width=16, blocks=1, coarse_samples=12, fine_samples=6),
    "hash": SMALL_HASH,
    "mesh": MeshConfig(resolution=8, paint=SMALL_HASH, tuned="both"),
    "canvas": CanvasConfig(pictures=2, resolution=24),
}


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("bands", [0, 16])
def test_a_scene_of_another_size_needs_what_was_foretold(scene, bands):
    """From smaller pictures, of 16 x 16 at most (meshes: 64 x 64)."""
    if scene in ("mesh", "canvas") and bands:
        pytest.skip("no rays")
    size = 96 if scene == "mesh" else 24
    shading = LIT if scene in ("lit voxels", "mesh") else ShadingSampler(shaded=0.0)
    stage = replace(ring_stage(2, size, 16, 4, scene=SCENES[scene], shading=shading), views=2)
    foretold, found = scene_bytes(stage, 1, bands), _measured(stage, size, bands)
    assert foretold.before == pytest.approx(found.before, rel=0.2)
    assert 0.85 < foretold.peak / found.peak < (1.7 if bands else 1.15)  # the fullest band has more than its share


def planned(stage):
    """A stage's plan with a prior that needs nothing."""
    return StagePlan("field", stage, GaussianPrior(torch.zeros(3, stage.size, stage.size), 0.5), 0)


def test_more_views_need_more_and_parts_of_them_less():
    stage = replace(ring_stage(2, 16, 16, 4, scene=SCENES["network"], shading=LIT), views=4)
    found = planned(stage)
    assert [(p.slices, p.bands) for p in found.ladder] == [(1, 0), (2, 0), (4, 0), (4, 4), (4, 16), (4, 64)]
    needs = [found.need(portions).peak for portions in found.ladder]
    assert needs == sorted(needs, reverse=True)
    assert (found.whole.peak, found.least.peak) == (needs[0], needs[-1])
    assert needs[1] < 0.6 * needs[0]
    assert needs[3] < 0.5 * needs[2]
    assert planned(replace(stage, slices=4, bands=16)).whole == found.need(Portions(4, 16))
    assert planned(replace(stage, slices=9)).whole == found.need(Portions(4))


def test_a_plan_changes_no_random_numbers():
    torch.manual_seed(0)
    wanted = torch.rand(3)
    torch.manual_seed(0)
    assert plan(find_recipe("sjc", "small"), "a red mushroom")[0].whole.peak > 0
    assert torch.equal(torch.rand(3), wanted)


def test_what_a_card_lacks_is_said_with_what_helps():
    stage = replace(ring_stage(2, 64, 16, 4, scene=SCENES["network"]), views=2)
    recipe, stages = replace(find_recipe("dreamfusion"), field=stage), [planned(stage)]
    rungs = (Portions(), Portions(2), Portions(2, 4), Portions(2, 64))
    whole, parts, bands, least = (stages[0].need(portions).room for portions in rungs)
    assert whole == int(stages[0].whole.peak * SLACK)
    assert shortage(stages, recipe, whole) is None
    said = shortage(stages, recipe, parts)
    assert said.startswith("memory: stage field is expected to need 0.")
    assert "With --field.slices 2 it needs" in said
    assert "a run comes to that by itself" in said
    assert "With --field.slices 2 --field.bands 4 it needs" in shortage(stages, recipe, bands)
    said = shortage(stages, recipe, least - 1)
    assert "in the smallest portions. What needs less: --field.size 32, --field.scene.coarse-samples 6" in said
    assert "precision" not in said  # the embedded prior has none
    assert "--model.precision bf16" in options(replace(recipe, prior="sd15"), "field", stage)[0]
    error = exhausted("stage field", recipe, "field", stage, torch.OutOfMemoryError("Out. Of 9 GiB. GPU 0 has none."))
    assert str(error).startswith("memory: stage field does not fit (Out. Of 9 GiB). What needs less: --field.size 32")


def test_free_memory():
    assert free_of(12) == 12 * GIB - CONTEXT
    assert (free_of(None) is None) == (not torch.cuda.is_available())


def test_the_command(capsys):
    assert main(["plan", "--recipe", "sjc", "--preset", "small", "--vram", "8", "--tflops", "100"]) == 0
    said = capsys.readouterr().out
    assert "min" in said.splitlines()[1]
    assert "It should fit: 7.4 GiB are free" in said
    assert main(["plan", "--recipe", "sjc", "--preset", "small", "--vram", "0.61"]) == 0
    assert "memory: stage field is expected to need 0." in capsys.readouterr().out
    assert main(["plan", "--recipe", "sjc", "--preset", "small", "--field.size", "4096"]) == 2
    assert "size: expected 32 x 32 or 64 x 64, got '4096 x 4096'" in capsys.readouterr().err
    assert main(["plan", "--vram", "-3"]) == 2
    assert "vram: expected a number above 0, got -3" in capsys.readouterr().err
    assert main(["plan", "--prior", "nothing"]) == 2
    assert "prior: expected" in capsys.readouterr().err


def test_a_run_on_a_gpu_says_beforehand_what_it_lacks(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (10_000_000, 0))
    recipe = replace(find_recipe("sjc", "small"), prior=str(weights_path()))
    assert "memory: stage field is expected to need 0." in foretold(recipe, "a red mushroom")
    assert foretold(replace(recipe, prior="nothing"), "a red mushroom") is None  # loading it will say so
    assert foretold(replace(recipe, prior="toybox"), "a red mushroom") is None  # small: not worth the seconds


def test_a_prior_that_does_not_fit_is_told(monkeypatch, tmp_path):
    def load(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB. GPU 0 has little.")

    monkeypatch.setattr("scorelift.engine.generate.load_prior", load)
    with pytest.raises(
        ScoreliftError, match=r"memory: the prior does not fit \(CUDA out of memory. Tried to allocate 9"
    ):
        generate("a red mushroom", out=tmp_path / "run", recipe=find_recipe("sjc", "small"), device="cpu")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_papers_recipe_fits_a_card():
    """All rays of DreamFusion's four views take 100 GiB; as the recipe takes them, two."""
    found = planned(find_recipe("dreamfusion").field)
    assert found.need(Portions()).peak > 90 * GIB
    assert found.whole.peak < 2.5 * GIB
