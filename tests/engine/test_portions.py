"""When memory runs out the run goes on, in smaller portions, and ends where it would have ended."""

import itertools
import json
from dataclasses import replace

import pytest
import torch
from helpers import ring_stage

import scorelift
from scorelift.core.diffusion import Cosine
from scorelift.core.errors import ScoreliftError
from scorelift.core.schedules import Constant, Ramp
from scorelift.distill.noise import Times
from scorelift.distill.sds import SDS
from scorelift.distill.vsd import VSD
from scorelift.engine.loop import Loop, step_generator
from scorelift.engine.portions import Portions, TermByTerm, sparing_prior, views_together
from scorelift.engine.run import Run
from scorelift.engine.tally import Tally
from scorelift.priors.analytic import GaussianPrior
from scorelift.priors.base import Prior
from scorelift.priors.guidance import Guidance
from scorelift.priors.toybox import ToyboxPrior, load_toybox
from scorelift.recipes import find_recipe
from scorelift.recipes.base import LIT, Penalties
from scorelift.scenes import HashConfig, MeshConfig, MLPConfig, VoxelConfig, build_scene
from scorelift.scenes.canvas import CanvasConfig

PENALTIES = Penalties(opacity=Constant(0.1), orientation=Constant(0.1), centre_depth=Constant(0.1))
SMALL_HASH = HashConfig(levels=3, finest=16, width=8, coarse_samples=24, blob=10.0, density_bias=5.0)
SCENES = {
    "voxels": VoxelConfig(resolution=16, environment=True),
    "network": MLPConfig(width=16, blocks=2, coarse_samples=12, fine_samples=6),  # analytic normals, a learned sky
    "hash": SMALL_HASH,
    "mesh": MeshConfig(resolution=8, paint=SMALL_HASH, tuned="both"),
    "canvas": CanvasConfig(pictures=4, resolution=16),
}


ERRORS = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB. GPU 0 has little."),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)."),
)


class Narrow(ToyboxPrior):
    """The embedded prior on a card that holds so many rows."""

    most = 10**9
    errors = ()
    "What it is said by, in turn."

    def predict_x0(self, z_t, level, condition):
        if len(z_t) > self.most:
            raise next(self.errors)
        return super().predict_x0(z_t, level, condition)


@pytest.fixture
def narrow(monkeypatch):
    """The embedded prior everywhere, with room for so many rows."""

    def begin(most):
        own = load_toybox()

        def load(name, device="cpu", options=None):
            prior = Narrow(own.net, own.tokenizer, sorted(own.known_words), own.view_words)
            prior.most, prior.errors = most, itertools.cycle(ERRORS)
            return prior

        monkeypatch.setattr("scorelift.engine.generate.load_prior", load)
        return load("toybox")

    return begin


def many_views(**changes):
    base = {"views": 4, "shading": LIT, "distiller": SDS(cfg_scale=3.0)}
    return replace(ring_stage(4, 16, 12, 4), **{**base, **changes})


def grey():
    return GaussianPrior(torch.zeros(3, 16, 16), 0.5)


def loop_of(stage, prior, portions=Portions()):  # noqa: B008
    torch.manual_seed(0)
    loop = Loop("only", stage, build_scene(stage.scene), prior, "a red mushroom", seed=0)
    loop.portions = portions
    return loop


def gradients(loop):
    return {name: p.grad for name, p in loop.scene.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("portions", [Portions(2), Portions(4), Portions(4, 4), Portions(1, 64)], ids=str)
@pytest.mark.parametrize("scene", SCENES)
def test_portions_have_the_gradient_of_the_whole(scene, portions):
    if scene == "canvas":
        portions = replace(portions, slices=1)  # all its pictures are shown at once
    penalties = Penalties() if scene in ("mesh", "canvas") else PENALTIES
    stage = many_views(scene=SCENES[scene], penalties=penalties)
    whole, parts = loop_of(stage, grey()), loop_of(stage, grey(), portions)
    one, many = whole.one_step(), parts.one_step()
    found = gradients(parts)
    assert found.keys() == gradients(whole).keys()
    assert sum(float(t.abs().sum()) for t in found.values()) > 0
    for name, wanted in gradients(whole).items():
        torch.testing.assert_close(found[name], wanted, rtol=1e-3, atol=1e-3 * float(wanted.abs().max()) + 1e-12)
    said = (None, None) if portions == Portions() else (portions.slices, portions.bands)
    assert (many.slices, many.bands) == said
    assert (one.slices, one.bands) == (None, None)
    for value in ("time", "gradient", "penalty", "opacity"):
        assert getattr(many, value) == pytest.approx(getattr(one, value), rel=1e-4)


def test_each_view_of_a_part_has_its_own_transmittance_target():
    stage = many_views(scene=SCENES["voxels"])
    empty = 1 - loop_of(stage, grey())._render(torch.arange(4), 0.0, step_generator(0, "only", 0))[1].opacity.detach()
    low, high = empty.mean((1, 2, 3)).sort().values[1:3].tolist()
    target = Constant((low + high) / 2)  # two views have reached it, two have not
    asking = replace(stage, penalties=Penalties(transmittance=Constant(1.0), transmittance_target=target))
    found = []
    for which, portions in ((stage, Portions()), (asking, Portions()), (asking, Portions(2)), (asking, Portions(4))):
        loop = loop_of(which, grey(), portions)
        loop.one_step()
        found.append(gradients(loop)["field.density"])
    without, whole, *parts = found
    assert not torch.allclose(without, whole, rtol=0.01, atol=1e-9)
    for part in parts:
        torch.testing.assert_close(part, whole, rtol=1e-3, atol=1e-4 * float(whole.abs().max()))


def test_a_twin_learns_the_same_in_parts():
    stage, prior, found = many_views(distiller=VSD(), size=32), load_toybox(), []
    for portions in (Portions(), Portions(2)):
        loop = loop_of(stage, prior, portions)
        found.append((loop.one_step().twin, [p.grad for p in loop.twin.adapters.parameters() if p.grad is not None]))
        loop.close()
    (one, whole), (many, parts) = found
    assert many == pytest.approx(one, rel=1e-4)
    for a, b in zip(parts, whole, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3 * float(b.abs().max()) + 1e-9)


def test_memory_that_runs_out_while_the_twin_learns(narrow):
    prior = narrow(1000)
    stage = many_views(distiller=VSD(cfg_scale=1.0), size=32)
    whole = loop_of(stage, prior)
    wanted = whole.one_step().twin
    whole.close()
    loop, told = loop_of(stage, prior), []
    loop.told = lambda text, between: told.append((text, between))
    learn = loop.twin.loss

    def loss(z, *rest):
        if len(z) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return learn(z, *rest)

    loop.twin.loss = loss
    assert loop.one_step().twin == pytest.approx(wanted, rel=1e-4)
    assert [between for _, between in told] == [False]  # the scene has taken its step: not what a resume may begin with
    assert loop.portions == Portions(2)
    loop.close()


def test_the_ladder():
    def all_of(start, groups, **rays):
        found = [start]
        while (after := found[-1].smaller(groups, **rays)) is not None:
            found.append(after)
        return [(p.slices, p.bands) for p in found]

    assert all_of(Portions(), 4) == [(1, 0), (2, 0), (4, 0), (4, 4), (4, 16), (4, 64)]
    assert all_of(Portions(), 3, rays=False) == [(1, 0), (2, 0), (3, 0), (3, 4)]
    assert all_of(Portions(), 0) == [(1, 0), (1, 4), (1, 16), (1, 64)]


def test_views_that_belong_together_stay_together():
    assert [part.tolist() for part in Portions(2).parts(8, 4)] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert [part.tolist() for part in Portions(2).parts(3, 1)] == [[0, 1], [2]]
    assert [part.tolist() for part in Portions().parts(3, 4)] == [[0, 1, 2]]
    prior = GaussianPrior(torch.zeros(3, 8, 8), 0.5)
    prior.views = 4
    assert views_together(build_scene(VoxelConfig(resolution=8)), prior, 8) == 4
    assert views_together(build_scene(CanvasConfig(pictures=8)), prior, 8) == 8


@pytest.mark.parametrize("views", [1, 2])
def test_terms_one_by_one_say_the_same(views):
    class Counting(GaussianPrior):
        asked: list

        def predict_x0(self, z_t, level, condition):
            self.asked.append((len(z_t), len(level), len(condition)))
            return super().predict_x0(z_t, level, condition)

    prior = Counting(torch.rand(3, 8, 8), 0.5)
    prior.views, prior.asked = views, []
    condition = prior.encode_prompts(["", "x"])
    guidance = Guidance.cfg(condition.pick([1] * views), condition.pick([0] * views), 3.0)
    z, level = torch.randn(views, 3, 8, 8), Cosine().level(torch.linspace(0.2, 0.6, views))
    wanted, few = guidance.x0(prior, z, level), TermByTerm(prior)
    prior.asked.clear()
    torch.testing.assert_close(guidance.x0(few, z, level), wanted, atol=0, rtol=0)
    assert prior.asked == [(views,) * 3] * 2
    assert isinstance(few, Prior)
    assert (few.name, few.views, few.schedule, few.asked) == (prior.name, views, prior.schedule, prior.asked)


def test_bands_take_less_memory():
    stage = many_views(scene=SCENES["network"], views=1)
    found = []
    for bands in (0, 4, 16):
        loop = loop_of(stage, grey(), Portions(1, bands))
        tally = Tally(loop.scene.parameters())
        with tally:
            loop.one_step()
        found.append(tally.peak)
    assert found[1] < 0.4 * found[0]
    assert found[2] < found[1]


def test_an_autoencoder_computed_twice_has_the_same_gradient():
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8, 16), down_block_types=("DownEncoderBlock2D",) * 2, norm_num_groups=4, latent_channels=4,
        up_block_types=("UpDecoderBlock2D",) * 2,
    ).eval().requires_grad_(False)  # fmt: skip

    class Held:
        def __init__(self):
            self.vae = vae

    class Latent(GaussianPrior):
        latents = Held()

        def encode(self, rgb):
            return vae.encode(rgb).latent_dist.mode()

    prior, found = Latent(torch.zeros(4, 16, 16), 0.5), []
    before = {name: module.forward for name, module in vae.named_modules()}
    for bands in (0, 4):
        rgb = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1)).requires_grad_()
        tally = Tally(vae.parameters())
        with sparing_prior(prior, bands) as asked, tally:
            z = asked.encode(rgb)
            held = tally.now
            torch.autograd.backward([z], [torch.ones_like(z)])
        found.append((held, rgb.grad))
    assert found[1][0] < 0.6 * found[0][0]
    torch.testing.assert_close(found[1][1], found[0][1], atol=0, rtol=0)
    assert {name: module.forward for name, module in vae.named_modules()} == before


def small(steps=3, views=1):
    recipe = find_recipe("sjc", "small").with_steps(steps)
    scene = replace(recipe.field.scene, density_scale=40.0, resolution=16, prune_from=0.0)
    finish = replace(recipe.finish, mesh_resolution=24, faces=400, texture=32, turntable_frames=2, turntable_size=32,
                     preview_size=24)  # fmt: skip
    return replace(recipe, field=replace(recipe.field, scene=scene, views=views, size=32), finish=finish)


def last_scenes(run):
    return [run.load_checkpoint(path)["scene"] for path in run.checkpoints()]


def test_a_run_that_runs_out_of_memory_ends_where_it_would_have(narrow, tmp_path, capsys):
    recipe = small(views=4)
    runs = {}
    for most in (1000, 2):  # one view with guidance is two rows
        narrow(most)
        runs[most] = scorelift.generate("a red mushroom", out=tmp_path / str(most), recipe=recipe, device="cpu")
    said = capsys.readouterr().err
    assert said.count("memory ran out") == 2  # two parts were too large as well
    assert "stage field, step 1: its views now come in 4 parts" in said
    assert runs[2].metrics["portions_by_stage"] == {"field": {"slices": 4, "bands": 0}}
    assert "portions_by_stage" not in runs[1000].metrics
    log = [json.loads(line) for line in (tmp_path / "2" / "log.jsonl").read_text().splitlines()]
    assert [entry["slices"] for entry in log] == [4] * 3
    for few, many in zip(last_scenes(runs[2]), last_scenes(runs[1000]), strict=True):
        for name, wanted in many.items():
            torch.testing.assert_close(few[name], wanted, atol=2e-3, rtol=2e-3)  # Adamax divides by small gradients


def test_one_view_that_does_not_fit_is_taken_term_by_term(narrow, tmp_path):
    narrow(1)
    run = scorelift.generate("a red mushroom", out=tmp_path / "run", recipe=small(), device="cpu", quiet=True)
    assert run.metrics["portions_by_stage"] == {"field": {"slices": 1, "bands": 4}}


def test_at_last_the_priors_weights_rest():
    class Heavy(GaussianPrior):
        """Does not fit before its weights rest."""

        @property
        def can_rest(self):
            return 0 if self.resting else 1000

        def rest(self):
            self.resting = 1000

        def predict_x0(self, z_t, level, condition):
            if not self.resting:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return super().predict_x0(z_t, level, condition)

    stage, told = many_views(scene=SCENES["voxels"], views=1), []
    loop = loop_of(stage, Heavy(torch.zeros(3, 16, 16), 0.5))
    loop.told = lambda text, between: told.append(text)
    loop.one_step()
    assert loop.portions == Portions(1, 64)
    assert [("rest in CPU memory" in text) for text in told] == [False, False, False, True]
    whole = loop_of(stage, grey())
    whole.one_step()
    for name, wanted in gradients(whole).items():
        torch.testing.assert_close(gradients(loop)[name], wanted, rtol=1e-3, atol=1e-3 * float(wanted.abs().max()))


def test_what_does_not_fit_at_all_names_what_would_help_and_keeps_the_run(narrow, tmp_path):
    recipe, out = small(steps=4, views=2), tmp_path / "run"
    prior_of = narrow(1000)
    ask, calls = Narrow.predict_x0, []

    def fail_later(self, z_t, level, condition):
        calls.append(len(z_t))
        self.most = 1000 if len(calls) <= 2 else 0
        return ask(self, z_t, level, condition)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Narrow, "predict_x0", fail_later)
        with pytest.raises(ScoreliftError) as error:
            scorelift.generate("a red mushroom", out=out, recipe=recipe, device="cpu", quiet=True)
    said = str(error.value)
    assert said.startswith("memory: stage field does not fit (")
    assert "--field.scene.resolution 8" in said
    assert "0-field-0000002.safetensors" in said  # the two steps that were taken are kept
    assert Run.open(out).load_checkpoint(Run.open(out).latest_checkpoint()[0])["step"] == 2
    assert prior_of.most == 1000
    run = scorelift.generate("a red mushroom", out=out, recipe=recipe, device="cpu", quiet=True, resume=True)
    plain = scorelift.generate("a red mushroom", out=tmp_path / "plain", recipe=recipe, device="cpu", quiet=True)
    for a, b in zip(last_scenes(run), last_scenes(plain), strict=True):
        assert all(torch.equal(a[name], b[name]) for name in b)  # no step was taken in portions


def test_an_optimizer_that_runs_out_is_not_tried_again():
    loop = loop_of(many_views(scene=VoxelConfig(resolution=12), noise=Times(high=Ramp(0.9, 0.8))), grey())

    def step():
        raise torch.OutOfMemoryError("CUDA out of memory.")

    loop.optimizer.step = step
    with pytest.raises(torch.OutOfMemoryError):
        loop.one_step()
    assert loop.portions == Portions()


def test_what_a_stage_asks_for_from_the_start_resumes_bit_for_bit():
    stage = many_views(scene=SCENES["network"], slices=2, bands=4)
    whole, half, again = (loop_of(stage, grey(), Portions(2, 4)) for _ in range(3))
    assert Loop("only", stage, build_scene(stage.scene), grey(), "x", seed=0).portions == Portions(2, 4)
    logs = [whole.one_step() for _ in range(3)]
    assert [log.slices for log in logs] == [None] * 3  # as asked: nothing to tell
    half.one_step()
    again.load(half.state())
    for _ in range(2):
        again.one_step()
    for (name, a), b in zip(whole.scene.state_dict().items(), again.scene.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.parametrize(("name", "value"), [("slices", 0), ("bands", -1)])
def test_portions_are_whole_numbers(name, value):
    with pytest.raises(ScoreliftError, match=f"{name}: expected a whole number of at least"):
        many_views(**{name: value})
