"""What the tools before madrun let pass without a word, or called a success: each is said here.

The cards are those of the repository beside this file that go wrong. `SAID` holds the ones that end as a run, `TOLD`
the ones that a command tells of before anything runs, `LINT` what is seen in the files alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mad_bed import TOKEN, Checkout, check_out

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.beside, pytest.mark.usefixtures("mad_base")]

# What was silent; the card; how its run ends here; words of its record (any of them).
SAID: list[tuple[str, str, str, tuple[str, ...]]] = [
    ("1.9 a number, then exit code 3: was SUCCESS", "exits", "FAILURE", ("exit code 3",)),
    ("2.3.5 exit 0 and nothing measured", "no_number", "FAILURE", ("nothing was measured",)),
    ("2.3.4(4) a pipe hides the failure", "masked", "FAILURE", ("Traceback", "ModuleNotFoundError")),
    ("2.3.4(4) a number beside the hidden failure", "masked_number", "SUCCESS", ("Traceback", "ModuleNotFoundError")),
    ("2.3.4(1) last week's CSV as today's", "stale", "FAILURE", ("perf_stale.csv",)),
    ("1.9 multiple_results that was not written", "no_csv", "FAILURE", ("perf_none.csv",)),
    ("1.9 the column `models` of MAD's own README", "csv_header", "FAILURE", ("models",)),
    ("2.3.5 a row without a number", "csv_cell", "FAILURE", ("small", "perf_cell.csv")),
    ("1.9 a CSV of nan", "csv_nan", "FAILURE", ("nan",)),
    ("1.9 a line of nan", "line_nan", "FAILURE", ("nan",)),
    ("2.3.4(2) two rows with one key", "collide", "", ("llama", "tok_per_s_per_gpu")),
    ("1.11 a timeout after the number", "sleeps", "FAILURE", ("timeout", "1 s")),
]


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory, mad_base: None) -> tuple[Checkout, Any]:
    """One run of the cards that go wrong."""
    checkout = check_out(tmp_path_factory.mktemp("failing"))
    return checkout, checkout.run("run", "--tags", "failing", "-c", "{'grace': '0.2s'}")


@pytest.mark.parametrize(("card", "status", "words"), [row[1:] for row in SAID], ids=[row[0] for row in SAID])
def test_the_run_says_what_was_wrong(
    failing: tuple[Checkout, Any], card: str, status: str, words: tuple[str, ...]
) -> None:
    checkout, done = failing
    if status:
        assert checkout.record(card)["status"] == status
    said = checkout.notes(card)
    assert any(word in said for word in words), said
    assert any(word in done.stdout + done.stderr for word in words), "and on the terminal"


def test_a_run_that_failed_makes_the_command_fail(failing: tuple[Checkout, Any]) -> None:
    """The first generation ended with 0 whatever happened."""
    checkout, done = failing
    assert done.returncode == 3
    failed = {row["model"].partition("_llama")[0] for row in checkout.rows() if row["status"] == "FAILURE"}
    assert {"exits", "no_number", "masked", "stale", "no_csv", "csv_header", "line_nan", "sleeps"} <= failed


def test_rows_that_an_older_run_left_in_a_csv_never_count(failing: tuple[Checkout, Any]) -> None:
    """2.3.4(1): a script that appends turned last week's rows into today's."""
    checkout, _ = failing
    rows = [(row["model"], row["performance"]) for row in checkout.rows() if row["model"].startswith("appends")]
    assert ("appends_last-week", "777") not in rows
    assert checkout.record("appends")["status"] == "FAILURE" or rows == [("appends_today", "5")]


def test_every_selected_card_has_a_row_and_one_that_is_wrong_stops_no_other(checkout: Checkout) -> None:
    wrong = ["build_fails", "amd_only", "unset_word", "data_gone"]
    done = checkout.run("run", "--tags", *wrong, "old", "dummy")
    assert done.returncode in (2, 3, 4)
    assert "no such wheel" in done.stdout + done.stderr
    rows = {row["model"]: row["status"] for row in checkout.rows()}
    assert rows == {**dict.fromkeys(wrong, "FAILURE"), "old": "SKIPPED", "dummy": "SUCCESS"}
    assert all(record["reasons"] for record in checkout.records() if record["status"] != "SUCCESS")


def test_a_failed_build_has_an_exit_code_of_its_own(checkout: Checkout) -> None:
    assert checkout.run("run", "--tags", "build_fails").returncode == 2


# What was silent; the words of the command; its exit code; what it says (all of them).
TOLD: list[tuple[str, list[str], int, tuple[str, ...]]] = [
    (
        "1.4 no Dockerfile matches: each with its reason",
        ["run", "--tags", "amd_only"],
        2,
        ("amdonly.ubuntu.amd.Dockerfile", "AMD", "CPU"),
    ),
    (
        "1.5 docker_mounts the wrong way round: an empty folder appeared",
        ["run", "--tags", "dummy", "-c", "{'docker_mounts': {'@HOST@/corpus': '/weights_zoo'}}"],
        4,
        ("/weights_zoo", "does not exist", "other way round"),
    ),
    ("1.10 an unusable source: ran without data", ["run", "--tags", "data_gone"], -1, ("not_there",)),
    ("1.10 an unknown tool", ["run", "--tags", "dummy", "-c", "{'tools': [{'name': 'inner_'}]}"], -1, ("inner_",)),
    ("1.2 a misspelt field", ["list"], 0, ("misspelt", "multiple_result", "multiple_results")),
    ("1.5 a misspelt key", ["plan", "--tags", "dummy", "-c", "{'docker_env_var': {}}"], 0, ("docker_env_vars",)),
    (
        "1.6 keys of another target",
        ["plan", "--tags", "dummy", "-c", "{'k8s': {'namespace': 'x'}, 'debug': True}"],
        0,
        ("k8s (namespace) counts with --on kubernetes", "debug has no effect"),
    ),
    ("1.3 a tag that matches nothing", ["run", "--tags", "dumy"], 2, ("dumy", "dummy")),
    ("2.1 what a generator warns of", ["list"], 0, ("the submodule is missing",)),
    ("1.8 an unset variable of the host", ["run", "--tags", "unset_word"], -1, ("ZOO_UNSET_WORD",)),
    (
        "1.7 NNODES as text gave 22222222 processes",
        ["plan", "--tags", "dummy", "-c", "{'multi_node_args': {'NNODES': '2', 'NPROC_PER_NODE': '8', "
         "'NODE_RANK': '0', 'MASTER_ADDR': '127.0.0.1'}}"],
        0,
        ("--nnodes 2 ", "--nproc_per_node 8 ", "WORLD_SIZE=16"),
    ),
    (
        "1.7 an unknown launcher became torchrun",
        ["plan", "--tags", "launch_deepspeed"],
        0,
        ("MAD_MULTI_NODE_RUNNER=deepspeed --hostfile",),
    ),
    ("1.6 --timeout below zero that is not -1", ["run", "--tags", "dummy", "--timeout", "-5"], 4, ("timeout", "-5")),
]  # fmt: skip


@pytest.mark.parametrize(("words", "code", "said"), [row[1:] for row in TOLD], ids=[row[0] for row in TOLD])
def test_the_command_tells(checkout: Checkout, words: list[str], code: int, said: tuple[str, ...]) -> None:
    done = checkout.run(*(word.replace("@HOST@", str(checkout.host)) for word in words))
    if code >= 0:
        assert done.returncode == code, done.stdout + done.stderr
    for text in said:
        assert text in done.stdout + done.stderr
    assert not Path("/weights_zoo").exists()


def test_a_variable_that_the_scripts_would_miss_is_passed_on_or_named(checkout: Checkout) -> None:
    """2.3.1: a variable outside a fixed list did not reach the script, which fell back to one node."""
    done = checkout.run("plan", "--tags", "dummy", SGLANG_NODE_IPS="10.1.2.3,10.1.2.4")
    assert "SGLANG_NODE_IPS" in done.stdout + done.stderr


def test_a_long_model_has_no_time_limit(checkout: Checkout) -> None:
    """1.11: timeout -1 of a card ended after two hours."""
    assert checkout.limits("--tags", "patience", "dummy") == {"patience": 0, "dummy": 7200}


def test_nothing_measured_is_no_success_even_where_metrics_are_not_wanted(checkout: Checkout) -> None:
    """2.3.5: MAD_COLLECT_METRICS=false made a run without any number a SUCCESS."""
    for words, env in (([], {"MAD_COLLECT_METRICS": "false"}), (["-c", "{'skip_perf_collection': True}"], {})):
        done = checkout.run("run", "--tags", "unmeasured", *words, **env)
        assert done.returncode == 3
        assert checkout.record("unmeasured")["status"] == "SKIPPED"
        assert "not measured" in checkout.notes("unmeasured")
    assert checkout.run("run", "--tags", "unmeasured").returncode == 3
    assert checkout.record("unmeasured")["status"] == "FAILURE"


def test_the_change_to_the_last_valid_run_is_filled_in(checkout: Checkout) -> None:
    """1.9: relative_change was always empty."""
    for _ in range(2):
        assert checkout.run("run", "--tags", "dummy").returncode == 0
    first, second = (row["relative_change"] for row in checkout.rows())
    assert first == ""
    assert float(second.rstrip("%")) == 0


def test_two_runs_of_one_card_at_once_do_not_meet(checkout: Checkout) -> None:
    """1.8: one container name, one run directory, one perf CSV in the checkout's root."""
    assert checkout.run("run", "--tags", "layout").returncode == 0
    started = [checkout.start("run", "--tags", "layout", "sweep") for _ in range(2)]
    assert [child.wait(120) for child in started] == [0, 0]
    assert sum(row["model"] == "sweep_tiny-tp1" for row in checkout.rows()) == 4
    assert len(checkout.rows()) == 3 + 2 * 4


def test_both_registration_files_in_one_folder_are_an_error(checkout: Checkout) -> None:
    (checkout.folder / "scripts/primus_train/models.json").write_text("[]")
    done = checkout.run("list")
    assert "scripts/primus_train" in done.stderr
    assert "get_models_json.py" in done.stderr


def test_a_broken_file_is_named_and_hides_no_other(checkout: Checkout) -> None:
    (checkout.folder / "scripts/nested/models.json").write_text('[\n{"name": "inner",,}\n]')
    done = checkout.run("list")
    assert "scripts/nested/models.json:2:18" in done.stderr
    assert "deep/er/low" in done.stdout


def test_the_folder_written_with_a_colon_is_told_apart(checkout: Checkout) -> None:
    """1.3: `folder:tag` selected a root card of the folder's name, with `--tag` as an argument."""
    done = checkout.run("list", "--tags", "nested:inner")
    assert done.returncode == 2
    assert "nested/inner" in done.stdout + done.stderr
    file = checkout.folder / "models.json"
    cards = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps([*cards, {**cards[0], "name": "nested"}]), encoding="utf-8")
    done = checkout.run("plan", "--tags", "nested:inner")
    assert "nested/inner" in done.stdout + done.stderr


# What is seen without running: the file and the rule, which stand in one line.
LINT: list[tuple[str, str, str]] = [
    ("1.4 a Dockerfile without a header", "docker/noheader.ubuntu.Dockerfile", "no-header"),
    ("1.2 a script that is not there", "models.json", "scripts/dangling/run.sh"),
    ("1.2 a misspelt field", "models.json", "multiple_result:"),
    ("1.9 a CSV that nothing writes", "models.json", "perf_none.csv"),
    ("1.11 no time limit", "models.json", "patience"),
    ("2.3.4(1) a CSV that grows", "scripts/wrong/appends.sh", "perf_appended.csv"),
    ("2.3.4(3) cards that write one CSV", "scripts/primus_train/", "primus_perf_output.csv"),
    ("2.3.4(4) tee without pipefail", "scripts/wrong/masked.sh", "masked-pipe"),
    ("2.3.4(4) exit 0 whatever happened", "scripts/wrong/masked.sh", "exit-zero"),
    ("2.3.4(4) a constant as a result", "scripts/wrong/pass.sh", "constant-result"),
    ("2.3.4(9) a trace that prints a token", "scripts/contract/secret_trace.sh", "traced-secret"),
]


@pytest.fixture(scope="module")
def linted(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What `madrun lint` says of the repository, line by line, with one dangling path more."""
    checkout = check_out(tmp_path_factory.mktemp("linted"))
    file = checkout.folder / "models.json"
    cards = json.loads(file.read_text(encoding="utf-8"))
    cards.append({**cards[0], "name": "dangling", "scripts": "scripts/dangling/run.sh"})
    file.write_text(json.dumps(cards, indent=1), encoding="utf-8")
    done = checkout.run("lint")
    assert done.returncode != 0, done.stdout + done.stderr
    assert TOKEN not in done.stdout + done.stderr
    return (done.stdout + done.stderr).splitlines()


@pytest.mark.parametrize(("place", "rule"), [row[1:] for row in LINT], ids=[row[0] for row in LINT])
def test_lint_sees_it(linted: list[str], place: str, rule: str) -> None:
    assert [line for line in linted if place in line and rule in line]
