"""The re-runs end to end at the smallest size, with an untrained retriever: that they run, keep and say, not what."""

import dataclasses
import json
from functools import partial
from itertools import pairwise

import numpy as np
import pytest

from scorelift.cli import main
from scorelift.core.errors import ScoreliftError
from scorelift.distill import similarity
from scorelift.distill.sds import SDS
from scorelift.engine.run import Run
from scorelift.evaluate import assets
from scorelift.evaluate.geometry import compare_views
from scorelift.evaluate.prior import draw_samples
from scorelift.recipes import DreamFlow, DreamFusion, ScoreJacobianChaining
from scorelift.recipes.base import Finish
from scorelift.reproduce import (
    STUDIES,
    Bench,
    Findings,
    Scale,
    Study,
    dreamflow,
    dreamfusion,
    flat,
    measures,
    sjc,
    views,
)
from scorelift.reproduce.bench import small, table, write_index
from scorelift.scenes import MeshConfig, VoxelConfig

SCALE = Scale(prompts=("a yellow duck",), seeds=(0,), steps=1)
THIN = VoxelConfig(resolution=20, density_scale=1e-6)
TINY = Finish(mesh_resolution=40, faces=500, texture=64, turntable_frames=2, turntable_size=32, preview_size=24)


def shrunk(recipe):
    """The recipe on few voxels, with small outputs."""
    voxels, stages = VoxelConfig(resolution=20), {}
    for name, stage in recipe.stages().items():
        mesh = isinstance(stage.scene, MeshConfig)
        scene = MeshConfig(resolution=10, paint=voxels, tuned=stage.scene.tuned) if mesh else voxels
        stages[name] = dataclasses.replace(stage, scene=scene, size=min(stage.size, 32) if mesh else stage.size)
    return dataclasses.replace(recipe.with_stages(stages), finish=TINY)


def tiny(recipe):
    """The recipe's stages on a few voxels, with one prior."""
    recipe = shrunk(recipe)
    stages = {name: dataclasses.replace(stage, size=32, prior=None) for name, stage in recipe.stages().items()}
    return recipe.with_stages(stages)


@pytest.fixture
def bench(tmp_path, monkeypatch, untrained_scorer):
    for module in (assets, similarity):
        monkeypatch.setattr(module, "load_scorer", lambda *_: untrained_scorer)
    for module in (dreamfusion, sjc):
        monkeypatch.setattr(module, "small", lambda recipe, changes, **k: shrunk(small(recipe, changes, **k)))
    said = views.said
    monkeypatch.setattr(views, "said", lambda way, **k: shrunk(said(way, **k)))
    monkeypatch.setattr(views, "calibrate", lambda judge: {"true": 0.1, "two_faced": 0.5})
    monkeypatch.setattr(assets, "compare_geometry", partial(assets.compare_geometry, samples=300, grid=16))
    monkeypatch.setattr(
        measures, "Evaluation", lambda: assets.Evaluation(distractors=12, cameras=assets.Cameras30(azimuths=3))
    )
    monkeypatch.setattr(flat, "data_distance", partial(measures.data_distance, count=4))
    monkeypatch.setattr(flat, "draw_samples", lambda *of, steps, **k: draw_samples(*of, steps=4, **k))
    monkeypatch.setattr(dreamflow, "small_flow", lambda: tiny(DreamFlow.preset("small")))
    meshes = dreamflow.mesh_methods
    monkeypatch.setattr(dreamflow, "mesh_methods", lambda: {name: tiny(r) for name, r in meshes().items()})
    monkeypatch.setattr(dreamflow, "compare_views", lambda *of, size: compare_views(*of, size=32))
    monkeypatch.setattr(dreamfusion, "GUIDANCES", (2.0, 20.0))
    monkeypatch.setattr(sjc, "GUIDANCES", (0.0, 3.0))
    return Bench(tmp_path / "runs", device="cpu")


@pytest.mark.parametrize(
    ("paper", "name", "rows"),
    [
        ("dreamfusion", "figure2", ["ancestral sampling", "SDS, pixels", "SDS, mirrored"]),
        ("dreamfusion", "table1", ["similarity (Dream Fields)", "SDS (DreamFusion)", "truth"]),
        ("dreamfusion", "figure6", [*dreamfusion.ablation(), "truth"]),
        ("dreamfusion", "figure9", ["2", "20"]),
        ("dreamfusion", "views", [*views.WAYS, "truth"]),
        ("dreamflow", "figure6", ["SDS", "VSD", "APFO", "APFO, identity"]),
        (
            "dreamflow",
            "figure14",
            [
                "SDS, random",
                "VSD, random",
                "VSD, linear",
                "VSD, DreamTime",
                *(f"{m}, {n} steps" for m in ("VSD, random", "APFO") for n in (1, 2)),
            ],
        ),
        (
            "dreamflow",
            "table2",
            [*(f"{m}, 1 steps" for m in ("SDS", "VSD", "APFO", "APFO, identity")), "truth", "seconds"],
        ),
        (
            "dreamflow",
            "seconds",
            [*(f"{m}, 1 steps" for m in ("SDS", "APFO, identity", "VSD", "APFO")), "truth", "seconds"],
        ),
        ("dreamflow", "table3", ["Magic3D", "ProlificDreamer", "DreamFlow", "truth", "seconds"]),
        ("dreamflow", "figure5", ["field", "mesh", "refined", "truth", "seconds"]),
        ("sjc", "figure2", ["1", "2", "4", "8"]),
        ("sjc", "figure4", [f"{n}, {g}" for g in ("no prompt", "cfg 3") for n in ("annealed", "random")]),
        ("sjc", "figure6", ["sjc, small", "dreamfusion, small", "truth"]),
        ("sjc", "figure7", ["none", "lambda 1e4", "lambda 2e5", "1e4, then 8e4", "truth"]),
        ("sjc", "figureA2", ["off", "on"]),
    ],
)
def test_a_study_writes_page_picture_and_values(bench, tmp_path, paper, name, rows):
    findings = STUDIES[paper][name].make(bench, SCALE)
    page, picture, values = findings.write(tmp_path / "results", name, "how it was made")
    assert list(json.loads(values.read_text())) == rows
    assert "how it was made" in page.read_text()
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert findings.picture.std() > 5  # not blank
    made = sorted(path for path in bench.folder.rglob("metrics.json"))
    times = [path.stat().st_mtime_ns for path in made]
    STUDIES[paper][name].make(bench, SCALE)
    assert [path.stat().st_mtime_ns for path in made] == times  # finished runs are kept


def test_the_ablation_adds_one_choice_a_row():
    (field,) = DreamFusion.preset("small").stages().values()
    stages = [dataclasses.asdict(dataclasses.replace(field, **row)) for row in dreamfusion.ablation().values()]
    changed = [{key for key in a if a[key] != b[key]} for a, b in pairwise(stages)]
    assert changed == [{"cameras"}, {"prompting"}, {"shading"}, {"shading"}, {"prompting"}]
    assert stages[-1] == dataclasses.asdict(field)


def test_the_table_shows_intervals():
    assert table("m", ["a"], {"x": [{"mean": 0.5, "low": 0.25, "high": 0.75}]}).splitlines()[-1] == (
        "| x | 0.500 [0.250, 0.750] |"
    )


def test_an_index_names_the_pages_of_a_paper(tmp_path):
    found = Findings(title="A Figure", text="x", values={}, picture=np.zeros((2, 2, 3), np.uint8))
    for name in ("sjc-figure4-fast", "sjc-figure2", "dreamflow-figure6"):
        found.write(tmp_path, name, f"`{name}`: some minutes.")
    lines = write_index(tmp_path, "sjc").read_text().splitlines()
    assert lines[2:] == [
        "- [A Figure](sjc-figure2.md). `sjc-figure2`: some minutes.",
        "- [A Figure](sjc-figure4-fast.md). `sjc-figure4-fast`: some minutes.",
    ]
    write_index(tmp_path, "sjc")  # the index is not one of its pages
    assert len(write_index(tmp_path, "sjc").read_text().splitlines()) == 4


def test_unknown_studies_are_refused(capsys):
    assert main(["reproduce", "dreamfusion"]) == 0
    assert "figure6" in capsys.readouterr().out
    assert main(["reproduce", "dreamfusion", "figure7"]) == 2
    assert "figure2" in capsys.readouterr().err
    assert main(["reproduce", "dreamfuse", "figure2"]) == 2


def test_a_damaged_run_is_not_taken_for_finished(bench):
    run = bench.run("x", "a yellow duck", dreamfusion.small(DreamFusion, {}, steps=1, seed=0))
    (run.path / "config.json").write_text("{")
    with pytest.raises(ScoreliftError, match=r"config\.json, which is damaged"):
        bench.run("x", "a yellow duck", dreamfusion.small(DreamFusion, {}, steps=1, seed=0))


def thin(recipe):
    """The recipe with a field in which there is nothing to see."""
    return dataclasses.replace(recipe, field=dataclasses.replace(recipe.field, scene=THIN))


def made(seed):
    return dreamfusion.small(DreamFusion, {}, steps=1, seed=seed)


def row(text, label):
    """Cells of a table's row."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {label} |"))
    return [cell.strip() for cell in line.split("|")[2:-1]]


def test_scenes_that_end_empty_are_misses(bench):
    runs = bench.grid(SCALE, {"thin": lambda seed: thin(made(seed)), "solid": made})
    assert runs["thin"] == [None]
    found = measures.compared(runs, SCALE, "t", "")
    header, none, whole = (row(found.text, label) for label in ("method", "thin", "solid"))
    assert (none[0], whole[0]) == ("0 of 1", "1 of 1")
    of = dict(zip(header, none, strict=True))
    assert of["r1_albedo"] == of["kind_textureless"] == of["object"] == "0.000 (n = 1)"
    assert of["chamfer"] == of["janus"] == ""
    assert "" not in whole
    assert "count as misses" in found.text
    nothing = measures.compared({"thin": [None]}, SCALE, "t", "")  # not one scene to measure
    assert row(nothing.text, "thin") == none
    assert "" not in row(nothing.text, "the world's own pictures")[1:7]


def test_misses_pull_down_what_they_are_missed_in():
    class Perfect:
        def marks(self, run):
            return {"prompt": run, **dict.fromkeys(measures.MISSED, 1.0), "janus": None, "chamfer": 0.02}

    scale = Scale(prompts=("a duck", "a mug"), seeds=(0, 1))
    found = measures._means(["a duck", None, "a mug", "a mug"], scale, Perfect())
    assert (found["object"]["mean"], found["object"]["n"]) == (0.75, 2)
    assert (found["chamfer"]["mean"], found["chamfer"]["n"]) == (0.02, 2)
    assert found["janus"] is None


@pytest.mark.parametrize(
    ("study", "room", "row_of", "cells"),
    [
        (dreamfusion.figure9, dreamfusion, "2", ["0.000 (n = 1)", ""]),
        (sjc.figure_a2, sjc, "off", ["0 of 1", ""]),
    ],
)
def test_studies_of_pictures_go_on_when_a_scene_ends_empty(bench, monkeypatch, study, room, row_of, cells):
    """The first of two variants ends empty."""
    small_of, turns = room.small, iter([True, False])

    def small(*args, **kwargs):
        recipe = small_of(*args, **kwargs)
        return thin(recipe) if next(turns) else recipe

    monkeypatch.setattr(room, "small", small)
    monkeypatch.setattr(sjc, "regularized", lambda **_: partial(small, ScoreJacobianChaining, {}))
    found = study(bench, SCALE)
    assert row(found.text, row_of) == cells
    assert found.picture.std() > 5


def test_a_recipe_that_changed_is_run_anew(bench):
    first, again = (bench.run("x", "a yellow duck", made(0)) for _ in range(2))
    other_seed = bench.run("x", "a yellow duck", made(1))
    field = dataclasses.replace(made(0).field, distiller=SDS(cfg_scale=7.0))
    changed = bench.run("x", "a yellow duck", dataclasses.replace(made(0), field=field))
    assert first.path == again.path
    assert first.path.parent == other_seed.path.parent != changed.path.parent
    assert Run.open(changed.path).recipe.field.distiller.cfg_scale == 7.0


def test_the_page_names_its_prompts(bench, monkeypatch, tmp_path, capsys):
    findings = Findings(title="t", text="", values={}, picture=np.zeros((2, 2, 3), np.uint8))
    study = Study(lambda *_: findings, "s", full=SCALE, fast=dataclasses.replace(SCALE, prompts=("",)))
    monkeypatch.setitem(STUDIES, "paper", {"figure": study})
    words = [
        "reproduce",
        "paper",
        "figure",
        "--out",
        str(tmp_path),
        "--runs",
        str(tmp_path / "runs"),
        "--device",
        "cpu",
    ]
    assert main(words) == main([*words, "--fast"]) == 0
    whole, fast = ((tmp_path / f"paper-figure{s}.md").read_text() for s in ("", "-fast"))
    assert "figure`: a yellow duck; seeds 0; 1 steps;" in whole
    assert "intervals over prompts" in whole
    assert "--fast`: no prompt;" in fast
    assert "intervals over seeds" in fast
