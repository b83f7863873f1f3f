"""The command line, run as a user runs it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from io import StringIO
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

from scorelift.cli import main
from scorelift.core.files import load_state
from scorelift.engine.results import start_scene
from scorelift.engine.run import Run
from scorelift.export.gltf import from_glb
from scorelift.priors.toybox import weights_path
from scorelift.recipes import find_recipe
from scorelift.scenes import Gaussians, Mesh

needs_weights = pytest.mark.skipif(not weights_path().exists(), reason="the embedded weights are not in the package")
TINY = [
    "--finish.mesh-resolution",
    "48",
    "--finish.faces",
    "800",
    "--finish.texture",
    "64",
    "--finish.turntable-frames",
    "4",
    "--finish.turntable-size",
    "32",
    "--finish.preview-size",
    "32",
    # Dense from the start, so that a surface is there after a few steps.
    "--shape.scene.opacity",
    "0.9",
    "--surface.scene.resolution",
    "12",
]


def process(*words: str, cwd: Path) -> subprocess.CompletedProcess:
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "scorelift", *words], cwd=cwd, capture_output=True, text=True, check=False
    )


def scorelift(*words: str, cwd: Path) -> subprocess.CompletedProcess:
    """The same in this process, which has loaded everything already."""
    said, complained = StringIO(), StringIO()
    with contextlib.chdir(cwd), contextlib.redirect_stdout(said), contextlib.redirect_stderr(complained):
        code = main(words)
    return subprocess.CompletedProcess(words, code, said.getvalue(), complained.getvalue())


def refused(result: subprocess.CompletedProcess, *parts: str) -> None:
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    for part in parts:
        assert part in result.stderr, result.stderr


def test_version_help_and_lists(tmp_path):
    assert process("--version", cwd=tmp_path).stdout.startswith("scorelift 0.")
    assert "generate" in process("--help", cwd=tmp_path).stdout
    assert "--shape.distiller.cfg-scale" in process("generate", "--help", cwd=tmp_path).stdout
    assert "--picture.scene.kind" in process("generate", "x", "--recipe", "canvas", "--help", cwd=tmp_path).stdout
    assert "--preset draft" in scorelift("recipes", cwd=tmp_path).stdout
    assert "mushroom" in scorelift("toybox", "words", cwd=tmp_path).stdout


def test_importing_is_light(tmp_path):
    code = "import sys, scorelift; print(scorelift.__version__); assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False).returncode == 0


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["fly"], ["command", "generate"]),
        (["generate", ""], ["prompt", "a sentence"]),
        (["generate", "a red duck", "--recipe", "slow"], ["recipe", "quick"]),
        (["generate", "a red duck", "--preset", "huge"], ["preset", "draft"]),
        (["generate", "a red duck", "--steps", "0"], ["steps", "at least 1", "got 0"]),
        (["generate", "a red duck", "--steps", "many"], ["steps"]),
        (["generate", "a red duck", "--stepz", "3"], ["stepz"]),
        (["generate", "a red duck", "--shape.views", "-1"], ["views"]),
        (["generate", "a red duck", "--prior", "imagen"], ["prior", "toybox"]),
        (["generate", "a red duck", "--device", "tpu"], ["device"]),
        (["generate"], ["PROMPT"]),
        (["export", "nowhere"], ["run", "made by"]),
        (["sample", "a red duck", "--n", "0"], ["n: expected at least 1"]),
        (["toybox", "show", "--size", "30"], ["size", "multiple of 4"]),
    ],
)
def test_bad_input_is_one_clear_sentence(tmp_path, words, parts):
    result = scorelift(*words, cwd=tmp_path)
    refused(result, *parts)
    assert len(result.stderr.strip().splitlines()) == 1
    assert not any(tmp_path.iterdir())


def test_contact_sheet(tmp_path):
    assert scorelift("toybox", "show", "--captions", "3", "--out", "s.png", cwd=tmp_path).returncode == 0
    assert (tmp_path / "s.png").stat().st_size > 1000


@needs_weights
def test_unknown_words(tmp_path):
    refused(process("generate", "a red griffin", cwd=tmp_path), "griffin", "--prior")
    assert not any(tmp_path.iterdir())


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    result = process("generate", "a red mushroom", "--steps", "6", "--out", "run", *TINY, cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "asset.glb" in result.stdout
    return folder / "run"


@needs_weights
def test_a_run_leaves_all_its_outputs(finished):
    names = {p.name for p in finished.iterdir()}
    assert {
        "asset.glb",
        "turntable.mp4",
        "preview.png",
        "report.html",
        "config.json",
        "metrics.json",
        "log.jsonl",
        "checkpoints",
    } == names
    assert len(from_glb((finished / "asset.glb").read_bytes()).faces) > 50
    log = [json.loads(line) for line in (finished / "log.jsonl").read_text().splitlines()]
    assert [(e["stage"], e["step"]) for e in log] == [("shape", i + 1) for i in range(6)] + [
        ("surface", i + 1) for i in range(6)
    ]
    metrics = json.loads((finished / "metrics.json").read_text())
    assert metrics["seed"] == 0
    assert metrics["seconds"] > 0


@needs_weights
def test_an_occupied_folder_is_refused_and_unchanged(finished):
    before = {p: p.stat().st_mtime_ns for p in finished.rglob("*")}
    refused(scorelift("generate", "a blue duck", "--out", "run", cwd=finished.parent), "holds another run", "--resume")
    refused(scorelift("generate", "a blue duck", "--out", "run", "--resume", cwd=finished.parent), "'a red mushroom'")
    assert {p: p.stat().st_mtime_ns for p in finished.rglob("*")} == before


@needs_weights
def test_another_prompt_goes_on_from_a_runs_field(finished, tmp_path):
    begun = start_scene(Run.open(finished), find_recipe("quick"))
    assert isinstance(begun, Gaussians)  # the run ended with a mesh
    words = ["generate", "a blue mushroom", "--from", str(finished), "--steps", "1", "--out", "blue", *TINY]
    assert scorelift(*words, cwd=tmp_path).returncode == 0
    first, after = (
        load_state(next((folder / "checkpoints").glob("0-shape-*")))["scene"]
        for folder in (finished, tmp_path / "blue")
    )
    assert first.keys() == after.keys()
    assert all(
        (first[name].float() - after[name].float()).abs().max() < 0.05 for name in ("place", "raw_colour")
    )  # one step away
    assert isinstance(start_scene(Run.open(finished), find_recipe("fantasia3d")), Mesh)


@needs_weights
@pytest.mark.parametrize("form", ["glb", "obj", "ply", "stl"])
def test_export(finished, tmp_path, form):
    result = scorelift("export", str(finished), "--format", form, "--out", str(tmp_path / f"x.{form}"), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / f"x.{form}").stat().st_size > 500


@needs_weights
def test_where_an_export_goes(finished, tmp_path, capsys):
    for out, name in (
        (tmp_path, "asset.ply"),
        (tmp_path / "my.asset.v2", "my.asset.v2.ply"),
        (tmp_path / "x.PLY", "x.ply"),
    ):
        assert main(["export", str(finished), "--format", "ply", "--out", str(out)]) == 0
        assert capsys.readouterr().out.strip() == str(tmp_path / name)
        assert (tmp_path / name).exists()


@needs_weights
@pytest.mark.parametrize("source", ["scene", "mesh"])
def test_render(finished, tmp_path, capsys, source):
    words = ["render", str(finished), "--source", source, "--resolution", "32"]
    pictures = []
    for light in ("0", "90"):
        out = tmp_path / "new" / f"{light}.png"
        shot = ["--mode", "textureless", "--azimuth-deg", "90", "--light-elevation-deg", light, "--ambient", "0"]
        assert main([*words, *shot, "--out", str(out)]) == 0
        assert capsys.readouterr().out.strip() == str(out)
        pictures.append(np.asarray(Image.open(out), float))
    side, top = pictures
    assert side.shape == (32, 32, 3)
    assert np.abs(side - top).mean() > 1  # the elevation alone moves the light


@needs_weights
def test_a_turntable_of_the_mesh(finished, tmp_path, capsys):
    words = ["render", str(finished), "--source", "mesh", "--mode", "albedo", "--resolution", "32", "--turntable"]
    assert main([*words, "--frames", "3", "--out", str(tmp_path / "turn.mp4")]) == 0
    with av.open(str(tmp_path / "turn.mp4")) as video:
        frames = [frame.to_ndarray(format="rgb24").astype(float) for frame in video.decode(video=0)]
    assert [frame.shape for frame in frames] == [(32, 32, 3)] * 3
    assert np.abs(frames[0] - frames[1]).mean() > 0.2
    capsys.readouterr()
    assert main([*words, "--frames", "0"]) == main([*words, "--resolution", "33"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert "frames: expected at least 1" in told[0]
    assert "resolution: expected an even number" in told[1]


@needs_weights
def test_interrupted_and_resumed_equals_uninterrupted(tmp_path):
    words = ["generate", "a red mushroom", "--steps", "40", *TINY]
    command = [sys.executable, "-m", "scorelift", *words, "--out", "cut"]
    # A gate may run in the background, where Ctrl-C is ignored and children inherit that.
    hears = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, preexec_fn=hears)
    log = tmp_path / "cut" / "log.jsonl"
    while process.poll() is None and not (log.exists() and len(log.read_text().splitlines()) > 12):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert "--resume" in error
    assert not (tmp_path / "cut" / "asset.glb").exists()
    assert scorelift(*words, "--out", "cut", "--resume", cwd=tmp_path).returncode == 0
    assert scorelift(*words, "--out", "whole", cwd=tmp_path).returncode == 0
    assert log.read_text() == (tmp_path / "whole" / "log.jsonl").read_text()
    assert (tmp_path / "cut" / "asset.glb").read_bytes() == (tmp_path / "whole" / "asset.glb").read_bytes()
    with (
        safe_open(tmp_path / "cut" / "checkpoints" / "1-surface-0000040.safetensors", "pt") as a,
        safe_open(tmp_path / "whole" / "checkpoints" / "1-surface-0000040.safetensors", "pt") as b,
    ):
        assert all((a.get_tensor(k) == b.get_tensor(k)).all() for k in a.keys())  # noqa: SIM118


@needs_weights
def test_a_damaged_checkpoint_is_told(tmp_path):
    words = ["generate", "a red mushroom", "--steps", "3", "--out", "r", *TINY]
    assert scorelift(*words, cwd=tmp_path).returncode == 0
    run = tmp_path / "r"
    first, newest = sorted((run / "checkpoints").iterdir())
    (run / "metrics.json").unlink()
    newest.write_bytes(newest.read_bytes()[:1000])
    again = scorelift(*words, "--resume", cwd=tmp_path)
    assert again.returncode == 0
    assert f"{newest.name}: damaged, and laid aside" in again.stderr
    (run / "metrics.json").unlink()
    for path in (first, newest):
        path.write_bytes(path.read_bytes()[:1000])
    refused(scorelift(*words, "--resume", cwd=tmp_path), "damaged", newest.name)


@needs_weights
def test_latents_without_a_latent_prior(tmp_path):
    words = ("generate", "a red duck", "--recipe", "sjc", "--field.scene.latent", "4")
    refused(scorelift(*words, cwd=tmp_path), "field.scene.latent: expected 0, for the prior works on pixels, got 4")
    assert not any(tmp_path.iterdir())


@needs_weights
def test_the_canvas_recipe(tmp_path):
    result = scorelift("generate", "a red mushroom", "--recipe", "canvas", "--steps", "3", "--out", "c", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "c" / "preview.png").exists()
    refused(scorelift("export", "c", cwd=tmp_path), "no mesh")


@needs_weights
def test_the_canvas_command(tmp_path):
    words = (
        "--distiller",
        "sjc",
        "--noise",
        "random",
        "--cfg",
        "10",
        "--pictures",
        "2",
        "--steps",
        "3",
        "--size",
        "32",
    )
    result = scorelift("canvas", "a red mushroom", *words, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    run = tmp_path / "runs" / "canvas-a-red-mushroom-0"
    assert (run / "preview.png").exists()
    config = (run / "config.json").read_text()
    assert all(word in config for word in ('"SJC"', '"Times"', "10.0"))
    refused(scorelift("canvas", "a red mushroom", "--cfg", "ten", cwd=tmp_path), "cfg")


@needs_weights
def test_samples(tmp_path):
    assert (
        scorelift("sample", "a red mushroom", "--n", "2", "--steps", "4", "--out", "s.png", cwd=tmp_path).returncode
        == 0
    )
    assert (tmp_path / "s.png").exists()


@pytest.mark.skipif(os.geteuid() == 0 if hasattr(os, "geteuid") else True, reason="root may write anywhere")
@needs_weights
def test_an_unwritable_folder(tmp_path):
    tmp_path.chmod(0o500)
    refused(scorelift("generate", "a red mushroom", "--out", str(tmp_path / "r"), cwd=Path.cwd()), "can be written")
