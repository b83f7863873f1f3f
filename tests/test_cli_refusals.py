"""What the command line refuses, before any work, in one sentence; and the help it gives."""

import json
import shutil

import pytest

from scorelift.cli import COMMANDS, main
from scorelift.priors.options import ModelOptions
from scorelift.priors.registry import check_model
from test_cli import needs_weights


@pytest.fixture
def told(tmp_path, monkeypatch, capsys):
    """Runs a command that is to be refused; gives its one line, once sure that nothing was written."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> str:
        before = sorted(tmp_path.rglob("*"))
        capsys.readouterr()
        assert main(words) == 2
        said = capsys.readouterr()
        assert said.out == ""
        lines = said.err.splitlines()
        assert len(lines) == 1, lines
        assert sorted(tmp_path.rglob("*")) == before
        return lines[0].removeprefix("scorelift: ")

    return run


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    """A finished run of flat pictures."""
    path = tmp_path_factory.mktemp("flat") / "run"
    words = ["canvas", "a red mushroom", "--steps", "1", "--pictures", "1", "--size", "32"]
    assert main([*words, "--out", str(path), "--quiet"]) == 0
    return path


DUCK = ("sample", "a red duck")
MUSHROOM = ("generate", "a red mushroom")


@pytest.mark.parametrize(
    ("words", "begin"),
    [
        (("generate",), "PROMPT: expected a value, got none. For example:"),
        (("generate", "a", "red", "duck", "--quiet"),
         'prompt: expected one sentence in quotes, got more words: red, duck. For example: "a red duck".'),
        ((*MUSHROOM, "--steps", "1.5"), "--steps: expected an integer, got '1.5'. See scorelift generate --help."),
        ((*MUSHROOM, "--shape.scene.opacity=x"), "--shape.scene.opacity: expected a number, got 'x'."),
        ((*MUSHROOM, "--model.lora-scale", "x"), "--model.lora-scale: expected a number, got 'x'."),
        ((*MUSHROOM, "--stepz", "3"), "--stepz: no such option. Did you mean --steps?"),
        ((*MUSHROOM, "--shape.latnt"), "--shape.latnt: no such option. Did you mean --shape.latent? See"),
        ((*MUSHROOM, "--device", "tpu"), "--device: expected one of auto, cpu, cuda, mps, got 'tpu'."),
        ((*MUSHROOM, "--steps"), "--steps: expected a value, got none."),
        ((*MUSHROOM, "--shape.optimizer.betas", "1"), "--shape.optimizer.betas: expected 2 values, got fewer."),
        (("toybox", "train"), "--pictures, --out: expected a value, got none."),
        (("toybox", "show", "extra"), "extra: not expected here."),
        (("render",), "RUN: expected a value, got none."),
        (("reproduce",), "PAPER: expected a value, got none."),
        (("toybox", "fly"), "command: expected one of toybox show"),
    ],
)  # fmt: skip
def test_what_the_parser_complains_of(told, words, begin):
    assert told(*words).startswith(begin)


@pytest.mark.parametrize(
    ("words", "begin"),
    [
        ((*MUSHROOM, "--seed", str(1 << 64)), "seed: expected a whole number from 0 to"),
        ((*MUSHROOM, "--prior", ""), "prior: expected a prior's name"),
        (
            (*MUSHROOM, "--model.lora", "a", "b", "--model.lora-scale", "1", ".6", ".2"),
            "model.lora_scale: expected one number, or one for each of 2 LoRAs, got 3.",
        ),
        ((*MUSHROOM, "--model.lora", "x"), "model: expected no such options for the embedded prior toybox"),
        (
            (*MUSHROOM, "--shape.distiller.cfg-scale", "nan"),
            "shape.distiller.cfg_scale: expected a finite number, got nan",
        ),
        (
            (*MUSHROOM, "--surface.steps", "5", "--shape.steps", "0"),
            "shape.steps: expected a whole number of at least 1",
        ),
        ((*MUSHROOM, "--shape.scene.count", "1"), "shape.scene.count: expected at least 4, got 1"),
        ((*MUSHROOM, "--surface.distiller.twin.rank", "0"), "surface.distiller.twin.rank: expected a number above 0"),
        (("plan", "--model.precision", "fp16"), "model: expected no such options"),
        (("canvas", "a red duck", "--steps", "0"), "steps: expected at least 1, got 0"),
        (("canvas", "a red duck", "--pictures", "0"), "pictures: expected at least 1, got 0"),
        (("canvas", "a red duck", "--cfg", "inf"), "cfg: expected a finite number, got inf"),
        (("canvas", "a red duck", "--seed", "-1"), "seed: expected"),
        (("canvas", " "), "prompt: expected a sentence"),
        (("generate", "?!"), "prompt: expected a sentence, got '?!'"),
        ((*MUSHROOM, "--finish.turntable-size", "161"), "finish.turntable_size: expected an even number, as videos"),
        ((*MUSHROOM, "--finish.texture", "1000000"), "finish.texture: expected a number in [16, 8192], got 1000000"),
        ((*MUSHROOM, "--finish.fov-deg", "200"), "finish.fov_deg: expected a number in [1, 170], got 200"),
        (
            (*MUSHROOM, "--surface.scene.resolution", "100000"),
            "surface.scene.resolution: expected a grid that fits in the",
        ),
        (("paint", "a red car", "car.glb"), "mesh: expected the mesh first, then the prompt, got 'a red car'"),
        (("evaluate", "x", "--cameras.azimuths", "100000000"), "cameras.azimuths: expected a number in [1, 3600]"),
        (("sample", ""), "prompt: expected a sentence"),
        ((*DUCK, "--cfg", "nan"), "cfg: expected a finite number, got nan"),
        ((*DUCK, "--seed", str(1 << 64)), "seed: expected"),
        ((*DUCK, "--steps", "1"), "steps: expected at least 2"),
        ((*DUCK, "--model.compile"), "model: expected no such options for the embedded prior toybox"),
        ((*DUCK, "--prior", ""), "prior: expected a prior's name"),
        ((*DUCK, "--out", "s.jpg"), "out: expected a name ending in .png, got 's.jpg'"),
        (("priors", "check", "toybox", "--prompt", ""), "prompt: expected a sentence"),
        (("priors", "check", "toybox", "--cfg", "nan"), "cfg: expected a finite number"),
        (("toybox", "show", "--captions", "-1"), "captions: expected at least 0"),
        (("toybox", "train", "--pictures", "p", "--out", "o", "--fresh-unet"), "fresh_unet: expected weights to take"),
        (("toybox", "render", "x", "--shards", "0"), "shards: expected at least 1"),
        ((*MUSHROOM, "--recipe="), "recipe: expected one of quick"),
        (("batch", "p.txt", "--recipe="), "recipe: expected one of quick"),
        (("plan", "--recipe="), "recipe: expected one of quick"),
        (("toybox", "render", "x", "--first", "-1"), "first: expected at least 0"),
        (("evaluate", "x", "--distractors", "100000"), "distractors: expected a number in [1, 2000]"),
        (("evaluate", "prior", "--cfg", "nan"), "cfg: expected a finite number"),
        (("evaluate", "prior", "--seed", "-1"), "seed: expected"),
    ],
)
def test_values_out_of_range(told, words, begin):
    assert told(*words).startswith(begin)


@needs_weights
def test_a_size_the_prior_does_not_take(told):
    assert told("canvas", "a red mushroom", "--size", "50").startswith("picture.size: expected 32 x 32 or 64 x 64")


@pytest.mark.parametrize(
    "words",
    [
        (*DUCK, "--out"),
        ("priors", "check", "toybox", "--out"),
        ("toybox", "show", "--out"),
        ("evaluate", "prior", "--out"),
        ("toybox", "judge", "--pictures", "p", "--test", "t", "--out"),
        ("toybox", "retriever", "--pictures", "p", "--textureless", "t", "--out"),
    ],
)
def test_where_nothing_can_be_written_is_told_at_once(told, tmp_path, words):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder.png").mkdir()
    assert told(*words, "folder.png").startswith("out: expected a file to write, got 'folder.png, which is a folder'")
    suffix = ".json" if "evaluate" in words else ".png"
    assert told(*words, "file/x" + suffix).startswith(
        "out: expected a path through folders, got 'file, which is a file'"
    )


def test_what_the_system_refuses_is_one_sentence(told, monkeypatch):
    def full():
        raise OSError(28, "No space left on device", "x.png")

    monkeypatch.setitem(COMMANDS, "recipes", full)
    assert told("recipes") == "x.png: cannot be read or written (No space left on device)."
    assert told(*MUSHROOM, "--out", "x" * 300).endswith("(File name too long).")


@needs_weights
def test_a_file_is_no_run(told, tmp_path):
    (tmp_path / "file").write_text("x")
    assert told("render", "file") == "run: expected a folder made by `scorelift generate`, got 'file'."


def test_memory_that_runs_out_is_one_sentence(told, monkeypatch):
    for error in (MemoryError("Unable to allocate 10.4 TiB for an array"),
                  RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried")):  # fmt: skip

        def fail(*_, raised=error, **__):
            raise raised

        monkeypatch.setattr("scorelift.priors.registry.load_prior", fail)
        assert told(*DUCK).startswith("memory ran out (")


def test_a_run_goes_on_from_what_it_began_with(told, flat):
    """And from nothing else, be it there or not."""
    words = ("generate", "a red mushroom", "--recipe", "canvas", "--out", str(flat), "--resume", "--from", "nowhere")
    assert "from: expected none, with which the run" in told(*words)


def test_a_flat_run_has_no_mesh_and_no_sides(told, flat):
    run = str(flat)
    for words, thing in (
        (("export", run), "mesh"),
        (("render", run, "--source", "mesh"), "mesh"),
        (("render", run, "--mode", "normal"), "mode normal"),
        (("render", run, "--turntable"), "turntable"),
    ):
        assert told(*words).endswith(f"The recipe canvas makes flat pictures: no {thing}.")


@needs_weights
def test_files_of_other_kinds(told, flat):
    run = str(flat)
    assert "ending in .png" in told("render", run, "--out", "r.jpg")
    assert "ending in .mp4" in told("render", run, "--turntable", "--out", "r.png")
    assert "ending in .obj" in told("export", run, "--format", "obj", "--out", "x.ply")
    assert "different runs" in told("evaluate", "prefer", run, run + "/.")
    checkpoint = next((flat / "checkpoints").iterdir())
    assert "which is a checkpoint of a run" in told(*DUCK, "--prior", str(checkpoint))


@needs_weights
@pytest.mark.parametrize(
    "recipe", [{}, [], {"type": "Quick", "shape": {}}, {"type": "Stage"}, {"type": "Quick", "seed": "a"}]
)
def test_a_damaged_recipe(told, flat, tmp_path, recipe):
    shutil.copytree(flat, tmp_path / "run")
    (tmp_path / "run" / "config.json").write_text(json.dumps({"prompt": "a red mushroom", "recipe": recipe}))
    for words in (("render", "run"), ("export", "run"), (*MUSHROOM, "--out", "run", "--resume")):
        said = told(*words)
        assert said.startswith("run/config.json: ")
        assert "damaged" in said


@pytest.mark.parametrize("words", [("toybox", "--help"), ("toybox", "-h"), ("help", "toybox")])
def test_the_help_of_a_group(capsys, words):
    assert main(words) == 0
    listed = capsys.readouterr().out
    assert "evaluate" not in listed
    assert all(name in listed for name in COMMANDS if name.startswith("toybox "))


def test_the_help_of_a_command(capsys):
    for words, part in (
        (("help", "toybox", "show"), "--captions"),
        (("help", "priors"), "priors get"),
        (("help",), "plan"),
    ):
        assert main(words) == 0
        assert part in capsys.readouterr().out


def test_an_embedded_prior_needs_no_download(capsys):
    assert main(["priors", "get", "toybox"]) == 0
    assert capsys.readouterr().out == "toybox is embedded: nothing to download.\n"


def test_a_diffusers_model_of_any_stage_has_options():
    check_model(ModelOptions(precision="fp16"), "toybox", None, "sd-1.5")
    check_model(ModelOptions(), "toybox")


def test_the_contact_sheet_makes_its_folder(tmp_path):
    out = tmp_path / "new" / "folder" / "s.png"
    assert main(["toybox", "show", "--captions", "1", "--size", "16", "--out", str(out)]) == 0
    assert out.exists()
