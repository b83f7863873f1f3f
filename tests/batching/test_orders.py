import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scorelift.batching.checks import check_orders, check_settings
from scorelift.batching.orders import Settings, read_orders
from scorelift.core.errors import ScoreliftError
from scorelift.distill.sds import SDS
from scorelift.engine.generate import check_asked
from scorelift.engine.run import Run
from scorelift.priors.toybox import weights_path
from scorelift.recipes import find_recipe, with_fields

needs_weights = pytest.mark.skipif(not weights_path().exists(), reason="the embedded weights are not in the package")


def settings_of(*, recipe="quick", preset=None, **others):
    return Settings(recipe=find_recipe(recipe, preset), **others)


def read(source, tmp_path, **settings):
    return read_orders(source, tmp_path / "out", settings_of(**settings))


def written(tmp_path, name, *lines):
    path = tmp_path / name
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_a_prompt_a_line(tmp_path):
    path = written(tmp_path, "p.txt", "\ufeff# toys", "a red mushroom", "", "  a blue duck  ", "   # no more")
    orders, complaints = read(path, tmp_path, seeds=2, seed=5, steps=7, preset="draft")
    assert not complaints
    assert [(o.where, o.prompt, o.plan.seed, o.folder.name) for o in orders] == [
        ("line 2", "a red mushroom", 5, "a-red-mushroom-5"),
        ("line 2", "a red mushroom", 6, "a-red-mushroom-6"),
        ("line 4", "a blue duck", 5, "a-blue-duck-5"),
        ("line 4", "a blue duck", 6, "a-blue-duck-6"),
    ]
    assert orders[1].plan == replace(find_recipe("quick", "draft").with_steps(7), seed=6)


@pytest.mark.parametrize("name", ["p.jsonl", "p.txt"])
def test_json_lines(tmp_path, name):
    rows = [
        {"prompt": "a red mushroom"},
        {"prompt": "a red mushroom", "recipe": "sjc", "seed": 3, "steps": 5, "prior": "toybox", "out": "a/b"},
        {"prompt": "a red mushroom", "preset": "long", "out": "c"},
    ]
    path = written(tmp_path, name, "# toys", *map(json.dumps, rows))
    orders, complaints = read(path, tmp_path, preset="draft", steps=9)
    assert not complaints
    assert [o.plan for o in orders] == [
        find_recipe("quick", "draft").with_steps(9),
        replace(find_recipe("sjc").with_steps(5), seed=3, prior="toybox"),  # another recipe has other presets
        find_recipe("quick", "long").with_steps(9),
    ]
    assert [o.folder.relative_to(tmp_path / "out").as_posix() for o in orders] == ["a-red-mushroom-0", "a/b", "c"]
    several, _ = read(path, tmp_path, seeds=2)
    assert [o.folder.name for o in several[-2:]] == ["c-0", "c-1"]


def test_lines_have_fields_of_their_own(tmp_path):
    rows = [
        "a red duck",
        {"prompt": "a red duck", "shape.distiller.cfg-scale": 9, "shape.steps": 800, "until": "shape", "out": "a"},
        {"prompt": "a red duck", "shape.distiller": {"type": "SDS", "cfg_scale": 4}, "out": "b"},
        {"prompt": "a red duck", "preset": "draft", "out": "c"},
        {"prompt": "a red duck", "recipe": "quick", "out": "d"},
    ]
    usual = with_fields(find_recipe("quick"), {"shape.steps": 700})
    orders, complaints = read_orders(rows, tmp_path, Settings(recipe=usual, seed=2))
    assert not complaints
    plans = [replace(order.plan, seed=0) for order in orders]
    shape = replace(usual.shape, steps=800, distiller=replace(usual.shape.distiller, cfg_scale=9))
    assert plans == [
        usual,
        replace(usual, until="shape", shape=shape),
        replace(usual, shape=replace(usual.shape, distiller=SDS(cfg_scale=4))),
        find_recipe("quick", "draft"),  # which begins with its own
        usual,
    ]
    assert {order.plan.seed for order in orders} == {2}


def test_numbers_of_numpy(tmp_path):
    rows = [{"prompt": "a duck", "seed": np.int64(2), "steps": np.int32(5)}]
    (order,), complaints = read(rows, tmp_path)
    assert not complaints
    assert type(order.plan.seed) is int
    assert order.plan == replace(find_recipe("quick").with_steps(5), seed=2)
    assert check_asked("quick", None, None, np.int64(3), np.int64(2)) == (3, 2)
    with pytest.raises(ScoreliftError, match="seed: expected a whole number, got True"):
        check_asked("quick", None, None, None, True)


def test_a_list_does_as_well(tmp_path):
    orders, _ = read(["a red duck", {"prompt": "a pig", "seed": 2}], tmp_path)
    assert [(o.where, o.prompt, o.plan.seed) for o in orders] == [("item 1", "a red duck", 0), ("item 2", "a pig", 2)]


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ('{"prompt": "a duck"', "a JSON object"),
        ("[1]", "a JSON object"),
        ("{}", "prompt: expected a sentence"),
        ('{"prompt": " "}', "prompt: expected a sentence"),
        ('{"prompt": "a duck", "seeed": 3}', "Did you mean 'seed'?"),
        ('{"prompt": "a duck", "seed": "three"}', "seed: expected a whole number"),
        ('{"prompt": "a duck", "seed": true}', "seed: expected a whole number"),
        ('{"prompt": "a duck", "steps": 1.5}', "steps: expected a whole number"),
        ('{"prompt": "a duck", "recipe": 3}', "recipe: expected text"),
        ('{"prompt": "a duck", "recipe": "slow"}', "recipe: expected one of"),
        ('{"prompt": "a duck", "preset": "huge"}', "preset: expected one of"),
        ('{"prompt": "a duck", "out": "../x"}', "within the batch's"),
        ('{"prompt": "a duck", "out": "Batch.json"}', "the batch's own files"),
        ('{"prompt": "a duck", "out": "in-use.json/x"}', "the batch's own files"),
        ('{"prompt": "a duck", "seed": ' + "9" * 5000 + "}", "a JSON object"),
        ('{"prompt": "a duck", "x": ' + "[" * 100_000 + "}", "a JSON object"),
        ('{"prompt": "a duck", "shape.steps": ' + "[" * 900 + "]" * 900 + "}", "recursion"),
        ('{"prompt": "a duck", "shape.stepps": 3}', "Did you mean 'shape.steps'?"),
        ('{"prompt": "a duck", "shape.steps": "many"}', "shape.steps: expected int"),
        ('{"prompt": "a duck", "shape.distiller": 3}', "shape.distiller: expected"),
        ('{"prompt": "a duck", "shape.distiller.type": "SDS"}', "a field of the recipe"),
        ('{"prompt": "a duck", "shape.seed.x": 3}', "a field of the recipe"),
        ('{"prompt": "a duck", "until": "dawn"}', "until: expected one of"),
        ('{"prompt": "a duck", "until": 3}', "until: expected text"),
    ],
)
def test_what_is_wrong_with_a_line_is_told_with_its_number(tmp_path, line, part):
    path = written(tmp_path, "p.jsonl", '{"prompt": "a red duck"}', "", line)
    orders, complaints = read(path, tmp_path)
    with pytest.raises(ScoreliftError, match="line 3: ") as told:
        check_orders(orders[:0], complaints)
    assert part in str(told.value)
    assert len(orders) == 1


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ScoreliftError, match="file: expected a file of prompts"):
        read(tmp_path / "none.txt", tmp_path)
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ScoreliftError, match="file: expected a file of prompts"):
        read(tmp_path / "bytes.txt", tmp_path)
    with pytest.raises(ScoreliftError, match="at least one prompt"):
        read(written(tmp_path, "empty.txt", "# nothing"), tmp_path)


@pytest.mark.parametrize(
    "wrong", [{"recipe": "slow"}, {"preset": "huge"}, {"steps": 0}, {"prior": "imagen"}, {"seed": -1}]
)
def test_what_is_wrong_with_every_line_is_told_once(wrong):
    with pytest.raises(ScoreliftError, match=f"{next(iter(wrong))}: expected"):
        check_settings(settings_of(**wrong))


@needs_weights
def test_every_prompt_that_cannot_be_run_is_listed(tmp_path):
    rows = ["a red griffin", "a red duck", "a red duck", '{"prompt": "x"}', "a blue wyvern"]
    orders, complaints = read(written(tmp_path, "p.txt", *rows), tmp_path)
    with pytest.raises(ScoreliftError) as told:
        check_orders(orders, complaints)
    head, *lines = str(told.value).splitlines()
    assert head.startswith("nothing was started")
    assert [line.split(":")[0].strip() for line in lines] == ["line 1", "line 3", "line 4", "line 5"]
    assert "griffin" in lines[0]
    assert "the folder of line 2" in lines[1]
    assert "wyvern" in lines[3]
    assert not (tmp_path / "out").exists()


@needs_weights
def test_folders_within_each_other_are_refused(tmp_path):
    rows = [{"prompt": "a red duck", "out": out} for out in ("a/b", "a", "ab", "c", "c/d/e")]
    orders, _ = read(rows, tmp_path)
    with pytest.raises(ScoreliftError) as told:
        check_orders(orders)
    _, *lines = str(told.value).splitlines()
    assert [line.split(":")[0].strip() for line in lines] == ["item 1", "item 5"]
    assert "within that of item 2" in lines[0]


@needs_weights
def test_what_a_run_would_refuse_is_told_before(tmp_path):
    rows = [
        {"prompt": "a red duck", "recipe": "paint", "colours.scene.mesh": "nope.glb", "out": "a"},
        {"prompt": "a red pig", "recipe": "paint", "colours.scene.mesh": "nope.glb", "out": "b"},
        {"prompt": "a red duck", "model.precision": "bf16", "out": "c"},
        {"prompt": "a red duck", "surface.scene.resolution": 100_000, "out": "d"},
    ]
    orders, complaints = read(rows, tmp_path)
    assert not complaints
    with pytest.raises(ScoreliftError) as told:
        check_orders(orders)
    _, *lines = str(told.value).splitlines()
    parts = ("scene.mesh: expected a mesh file that exists",) * 2 + ("model: expected no such", "resolution: expected")
    assert all(part in line for line, part in zip(lines, parts, strict=True))


def test_lines_end_where_json_says_so(tmp_path):
    said = ["a duck\u2028red", "a cat\x85red"]
    path = tmp_path / "p.jsonl"
    path.write_bytes("\r\n".join(json.dumps({"prompt": p}, ensure_ascii=False) for p in said).encode())
    orders, complaints = read(path, tmp_path)
    assert not complaints
    assert [(order.where, order.prompt) for order in orders] == [("line 1", said[0]), ("line 2", said[1])]


@needs_weights
def test_a_folder_goes_on_only_with_the_same_run(tmp_path):
    def checked(prompt="a red duck", **settings):
        orders, complaints = read([prompt], tmp_path, **settings)
        check_orders(orders, complaints)
        return orders[0]

    order = checked(steps=5)
    run = Run.create(order.folder, order.prompt, order.plan)
    checked(steps=5)
    with pytest.raises(ScoreliftError, match=r"steps: expected 5, with which the run in .* was begun, got 6"):
        checked(steps=6)
    with pytest.raises(ScoreliftError, match="recipe: expected Quick"):
        checked(recipe="sjc")
    (run.path / "config.json").rename(run.path / "other.json")
    with pytest.raises(ScoreliftError, match="holds other files"):
        checked(steps=5)
    other = Run.create(tmp_path / "out" / "a-blue-duck-0", "a pig", find_recipe("quick"))
    with pytest.raises(ScoreliftError, match="prompt: expected the prompt of the run"):
        checked("a blue duck")
    assert other.path.exists()


def test_plain_paths(tmp_path):
    orders, _ = read(str(written(tmp_path, "p.txt", "a red duck")), Path("here"))
    assert orders[0].folder == Path("here/out/a-red-duck-0")
