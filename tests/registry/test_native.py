"""Native cards: strict, with file and line in every error, and variants."""

import json

import pytest

from madrun.errors import CardError
from madrun.registry.native import card_files, read_cards
from madrun.spec.card import ImageSource, Metric

WHOLE = """\
description: says how fast
tags: [training, llm]
args: --preset 7b
files: [../../shared.py]
images:
  cpu: {dockerfile: cpu.Dockerfile, base: "python:3.11-slim", args: {X: "1"}}
  amd: {image: "rocm/pytorch:latest"}
gpus_per_node: 8
data: tiny_corpus
timeout: 2h
env: {NCCL_DEBUG: INFO}
metrics:
  tok: {unit: tok/s, higher_is_better: true, primary: true, across_nodes: sum, min: 0}
multiple_results: out.csv
training_precision: bf16
runner: plain
variants:
  one_tiny: {args: --preset tiny, tags: [smoke]}
"""


@pytest.fixture
def whole(write_card, repository):
    file = write_card(yaml=WHOLE)
    (repository / "shared.py").write_text("")
    (file.parent / "cpu.Dockerfile").write_text("FROM scratch\n")
    return file


def failure(file):
    with pytest.raises(CardError) as caught:
        read_cards(file, file.parents[2])
    return str(caught.value)


def test_every_key_of_a_card_is_read(whole, repository):
    card = read_cards(whole, repository)[0]
    assert (card.name, card.script, card.args, card.tags) == ("one", "run.sh", "--preset 7b", ("training", "llm"))
    assert card.folder == str(whole.parent)
    assert card.images["cpu"] == ImageSource(dockerfile="cpu.Dockerfile", base="python:3.11-slim", args={"X": "1"})
    assert card.images["amd"].image == "rocm/pytorch:latest"
    assert (card.gpus_per_node, card.data, card.timeout_s) == (8, ("tiny_corpus",), 7200.0)
    assert card.metrics == {
        "tok": Metric(unit="tok/s", higher_is_better=True, primary=True, across_nodes="sum", min=0.0)
    }
    assert (card.env, card.runner, card.training_precision) == ({"NCCL_DEBUG": "INFO"}, "plain", "bf16")
    assert (card.files, card.multiple_results) == (("../../shared.py",), "out.csv")


def test_a_variant_changes_what_it_names_adds_its_tags_and_keeps_the_rest(whole, repository):
    base, variant = read_cards(whole, repository)
    assert (variant.name, variant.args, variant.tags) == ("one_tiny", "--preset tiny", ("training", "llm", "smoke"))
    assert (variant.metrics, variant.timeout_s, variant.script) == (base.metrics, base.timeout_s, base.script)
    assert variant.source == f"{whole}:20"


def test_a_card_needs_no_more_than_name_and_script(write_card, repository):
    (card,) = read_cards(write_card(), repository)
    assert (card.gpus_per_node, card.data, card.timeout_s, card.tags) == (None, (), None, ())


def test_data_may_be_one_name_or_a_list(write_card, repository):
    assert read_cards(write_card(yaml="data: [a, b]\n"), repository)[0].data == ("a", "b")


def test_card_files_are_found_in_order_and_only_one_level_deep(write_card, repository):
    second, first = write_card("b"), write_card("a")
    (repository / "models" / "a" / "deep").mkdir()
    (repository / "models" / "a" / "deep" / "model.yaml").write_text("")
    assert card_files(repository) == [first, second]


@pytest.mark.parametrize(
    ("yaml", "line", "parts"),
    [
        ("tgas: [x]\n", 3, ["tgas: unknown key", "did you mean 'tags'?"]),
        ("metrics:\n  tok:\n    units: s\n", 5, ["metrics.tok.units: unknown key", "did you mean 'unit'?"]),
        ("args: 3\n", 3, ["args", "found 3 (int)", "text"]),
        ('metrics: {tok: {min: "3"}}\n', 3, ["metrics.tok.min", "'3' (str)", "a number"]),
        ("metrics: {tok: {across_nodes: avg}}\n", 3, ["'avg'", "'same'", "'mean'"]),
        ("tags: smoke\n", 3, ["tags", "'smoke' (str)", "a list"]),
        ("\ntimeout: soon\n", 4, ["timeout", "'soon'", "1h30m"]),
        ("gpus_per_node: 0\n", 3, ["gpus_per_node", "found 0", "'all'"]),
        ("metrics: {a: {primary: true}, b: {primary: true}}\n", 3, ["primary: true on a, b", "one metric"]),
        ("files: [../../../etc.py]\n", 3, ["files", "outside the repository"]),
        ("files: [missing.py]\n", 3, ["files", "missing.py does not exist"]),
        ("images: {cpu: {}}\n", 3, ["cpu", "either dockerfile", "or image"]),
        ("images: {tpu: {image: x}}\n", 3, ["tpu", "'amd', 'nvidia' or 'cpu'"]),
        ("images: {cpu: {dockerfile: no.Dockerfile}}\n", 3, ["no.Dockerfile does not exist"]),
        ("multiple_results: ../out.csv\n", 3, ["'../out.csv'", "a file name"]),
        ("variants:\n  two:\n    argz: x\n", 5, ["argz: unknown key", "did you mean 'args'?"]),
        (
            "runner: torchrunn\n",
            3,
            ["runner: found 'torchrunn'", "did you mean 'torchrun'?", "plain, script, torchrun"],
        ),
        ("env:\n  A B: x\n", 4, ["env.A B: found 'A B'", "a variable's name"]),
        ("env:\n  NNODES: '2'\n", 4, ["env.NNODES: is set from multi_node_args"]),
        ("env:\n  RANK: '2'\n", 4, ["env.RANK: is set by madrun"]),
        ("metrics:\n  tok:\n    max: 1\n    min: 5\n", 6, ["metrics.tok.min: found min 5 and max 1"]),
        ("metrics:\n  tok:\n    min: .nan\n", 5, ["metrics.tok.min: found nan", "a finite number"]),
        ("metrics:\n  tok:\n    max: .inf\n", 5, ["metrics.tok.max: found inf", "a finite number"]),
        ("args: it's\n", 3, ["args: found an unbalanced quote in args", "it's"]),
        ("args: 'x \\'\n", 3, ["args: found a backslash at the end"]),
        ("args: |\n  --a 1\n  --b 2\n", 3, ["args: found a line break", "one line", ">-"]),
        ("variants:\n  two:\n    args: it's\n", 5, ["args: found an unbalanced quote in args"]),
        ("variants:\n  two:\n    runner: x\n", 5, ["runner: found 'x'"]),
        ("args: a\ntags: []\nargs: b\n", 5, ["args: found again, first in line 3", "each key once"]),
        ("metrics:\n  tok: {unit: s}\n  tok: {unit: m}\n", 5, ["tok: found again, first in line 4"]),
        ("timeout: 2026-02-31\n", 1, []) if False else ("timeout: .nan\n", 3, ["timeout: found nan"]),
        ("variants:\n  'a b': {}\n", 4, ["'a b'", "letters, digits"]),
    ],
)
def test_a_wrong_card_is_named_with_file_line_key_and_what_is_allowed(write_card, yaml, line, parts):
    file = write_card(yaml=yaml)
    text = failure(file)
    assert text.startswith(f"{file}:{line}: ")
    assert [part for part in parts if part not in text] == []


@pytest.mark.parametrize("script", ["run.txt", "../one/run.sh", "/bin/run.sh", "missing.sh"])
def test_a_script_is_a_bash_or_python_file_below_the_card(write_card, script):
    file = write_card()
    file.write_text(f"name: one\nscript: {script}\n")
    text = failure(file)
    assert text.startswith(f"{file}:2: script: ")
    assert script in text


@pytest.mark.parametrize("name", ["../evil", "a b", "a;rm", "", "-x", "$(id)"])
def test_a_name_with_path_or_shell_characters_is_refused(write_card, name):
    file = write_card()
    file.write_text(f"name: {name!r}\nscript: run.sh\n")
    assert "name: found" in failure(file)
    assert "letters, digits" in failure(file)


def test_every_wrong_key_of_a_card_is_reported_at_once(write_card):
    lines = failure(write_card(yaml="argz: x\nmetrics: 3\n")).splitlines()
    assert len(lines) == 2
    assert ":3: argz" in lines[0] + lines[1]
    assert ":4: metrics" in lines[0] + lines[1]


@pytest.mark.parametrize("text", ["", "- a\n", "text\n"])
def test_a_file_that_is_no_map_is_refused(write_card, text):
    file = write_card()
    file.write_text(text)
    assert "a map with name, script" in failure(file)


def test_a_file_that_is_no_yaml_is_refused_with_line_and_column(write_card):
    file = write_card(yaml="tags: [a\nargs: b\n")
    assert f"{file}:4:" in failure(file)
    assert "not YAML" in failure(file)


@pytest.mark.parametrize("tags", ["smoke", "5", "{a: b}"])
def test_tags_of_a_variant_must_be_a_list(write_card, tags):
    file = write_card(yaml=f"variants:\n  two:\n    tags: {tags}\n")
    assert failure(file).startswith(f"{file}:5: ")


@pytest.mark.parametrize("yaml", ["2026-11-21: x\n", "env: {2026-11-21: x}\n", "args: &a [*a]\n"])
def test_yaml_that_json_cannot_say_is_a_card_error(write_card, yaml):
    file = write_card(yaml=yaml)
    assert str(file) in failure(file)


def test_a_dockerfile_outside_the_repository_is_refused(write_card, repository):
    file = write_card(yaml="images: {cpu: {dockerfile: ../../../x.Dockerfile}}\n")
    (repository.parent / "x.Dockerfile").write_text("FROM scratch\n")
    text = failure(file)
    assert text.startswith(f"{file}:3: images: ")
    assert "outside the repository" in text


def test_a_wrong_choice_between_a_number_and_a_word_names_the_key_alone(write_card):
    file = write_card(yaml="gpus_per_node: many\n")
    text = failure(file)
    assert text.startswith(f"{file}:3: gpus_per_node: found 'many'")


@pytest.mark.parametrize("yaml", ["args: >\n  --a 1\n  --b 2\n", "args: |\n  --a 1 --b 2\n"])
def test_the_line_break_that_ends_a_block_of_yaml_is_no_part_of_the_args(write_card, repository, yaml):
    assert read_cards(write_card(yaml=yaml), repository)[0].args == "--a 1 --b 2"


@pytest.mark.parametrize("args", ["--a 'x y' \"it's\"", "--a $HOME --b=$(nproc)", "--a it\\'s"])
def test_args_that_bash_can_read_stay_to_the_letter(write_card, repository, args):
    file = write_card()
    file.write_text(json.dumps({"name": "one", "script": "run.sh", "args": args}))
    assert read_cards(file, repository)[0].args == args


def test_equal_bounds_of_a_metric_are_allowed(write_card, repository):
    card = read_cards(write_card(yaml="metrics: {tok: {min: 1, max: 1}}\n"), repository)[0]
    assert card.metrics["tok"].max == 1


def test_a_file_behind_a_loop_of_links_is_refused(write_card):
    file = write_card(yaml="files: [a]\n")
    (file.parent / "a").symlink_to("b")
    (file.parent / "b").symlink_to("a")
    assert failure(file).startswith(f"{file}:3: files: ")


def test_a_path_with_nul_is_refused(write_card):
    assert "files: " in failure(write_card(yaml='files: ["a\\0b"]\n'))
