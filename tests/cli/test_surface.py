"""Commands and flags are a contract; the quick commands stay quick."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from madrun import __version__
from madrun.cli.app import app, run

CONTEXT = {"--additional-context", "-c", "--additional-context-file", "-f", "--site"}
WAIT = {"--timeout", "--join-timeout", "--stall-timeout"}
SHORT = {"--env", "-e", "--mount", "--arg", "-a", "--set"}
WHAT = {"--tags", "-t", "--repo"}
HOW = WAIT | {"--force-mirror-local", "--local-data", "--runtime", "--results"}
MAD = {"--data-config", "--data-config-file-name", "--tools-config", "--tools-json-file-name", "--ignore-deprecated"}
MAD |= {"--ignore-deprecated-flag", "--disable-skip-gpu-arch", "--manifest-file", "-m", "--registry", "-r", "--pull"}
MAD |= {"--clean-docker-cache"}
WRITES = {"--manifest-output", "--summary-output", "-s"}
KEEPS = {"--output", "-o", "--mad-files", "--live-output", "--no-live-output", "-l", "--cleanup-perf"}
KEEPS |= {"--keep-model-dir", "--skip-model-run", "--sys-env-details", "--no-sys-env-details"}
SHOW = {"--quiet", "-q", "--verbose", "-v", "--timings", "--json"}
SLURM = {
    "--partition",
    "--account",
    "--qos",
    "--time",
    "--gpus-per-node",
    "--constraint",
    "--reservation",
    "--exclusive",
}
SLURM |= {"--no-exclusive", "--nodelist", "--exclude", "--sbatch"}
KUBERNETES = {"--namespace", "--kube-context", "--jobset", "--no-jobset"}
LAUNCH = {"--on", "--hosts", "--nodes", "--detach"} | SLURM | KUBERNETES
RUN = WHAT | CONTEXT | SHORT | HOW | MAD | WRITES | KEEPS
FILTERS = {"--model", "--tag", "--status", "--since", "--results"}
SURFACE = {
    "": {"--version", "-V", "--install-completion", "--show-completion"},
    "run": RUN | SHOW | LAUNCH | {"--dry-run", "--plan", "--repeat", "--keep-alive", "--sweep", "--array"},
    "render": RUN | LAUNCH | {"--to", "--plan"},
    "attend": {"folder"},
    "suite": RUN | SHOW | LAUNCH | {"word", "--array", "--dry-run", "--resume", "--rerun", "--status"},
    "plan": WHAT | CONTEXT | SHORT | HOW | MAD | {"--json", "--plan"},
    "explain": WHAT | CONTEXT | SHORT | HOW | {"keys", "--json", "--run", "--node"},
    "doctor": WHAT | CONTEXT | SHORT | HOW | {"--nodes", "--quiet", "-q", "--json"},
    "build": WHAT | CONTEXT | SHORT | HOW | MAD | WRITES | {"--json", "--target-archs", "--batch-manifest"},
    "list": WHAT | {"--json"},
    "discover": WHAT | {"--json"},
    "lint": WHAT | {"--ignore", "--strict", "--json"},
    "migrate": WHAT | {"--to"},
    "ps": {"--json"},
    "status": {"run", "--results", "--json"},
    "logs": {"run", "--follow", "-f", "--node", "--rank", "--lines", "-n", "--results"},
    "stop": {"run", "--all", "--grace", "--results"},
    "gc": {"--keep", "--images-older-than", "--yes", "-y", "--results", "--json"},
    "report": FILTERS | {"--json", "--all-metrics"},
    "report csv": FILTERS | {"--output", "-o"},
    "report to-html": {"--csv-file-path", "--output", "-o"},
    "report to-email": {"--directory", "--output"},
}
HEAVY = ("pandas", "docker", "torch", "numpy", "requests", "kubernetes")
ONLY_TO_RUN = ("madrun.cli.prepare", "madrun.planning.job", "madrun.node.agent")  # they bring 100 modules along


def commands(command, name=""):
    """Every command by its words."""
    found = {name: command}
    for word, inner in getattr(command, "commands", {}).items():
        found |= commands(inner, f"{name} {word}".strip())
    return found


ALL = commands(typer.main.get_command(app))


def test_the_commands_are_frozen():
    assert set(ALL) == set(SURFACE)


@pytest.mark.parametrize("name", SURFACE)
def test_the_flags_of_a_command_are_frozen(name):
    flags = {flag for option in ALL[name].params for flag in (*option.opts, *option.secondary_opts)}
    assert flags == SURFACE[name]


@pytest.mark.parametrize("name", SURFACE)
def test_every_command_and_flag_has_help(name):
    assert ALL[name].help
    assert [option.name for option in ALL[name].params if not option.help] == []


QUICK = ["--version", "-V", "--help", "run --help", "list", "list --json", "ps --help", "status last"]


@pytest.mark.parametrize("words", [line.split() for line in QUICK])
def test_quick_commands_import_nothing_heavy(words, write_card, repository, tmp_path):
    write_card()
    (repository / "results/runs/20261121T000000Z-one-abcdef-1/node-0").mkdir(parents=True)
    (repository / "results/runs/20261121T000000Z-one-abcdef-1/plan.json").write_text("{}")
    command = [sys.executable, "-X", "importtime", "-m", "madrun", *words]
    env = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}  # `last` may be a launch of this user elsewhere
    done = subprocess.run(command, cwd=repository, env=env, capture_output=True, text=True, timeout=60)
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert done.returncode == (3 if "status" in words else 0)  # the run of this test is one that was killed
    assert "madrun.cli" in imported
    assert [name for name in (*HEAVY, *ONLY_TO_RUN) if name in imported] == []
    assert done.stdout


def test_the_version_is_that_of_the_package(madrun):
    for flag in ("--version", "-V"):
        assert madrun(flag).stdout == f"madrun {__version__}\n"


def test_without_words_the_help_is_shown(madrun):
    done = madrun()
    assert "run" in done.stdout + done.stderr
    assert "report" in done.stdout + done.stderr


def test_an_unknown_flag_is_a_usage_error(madrun):
    done = madrun("run", "--tagz", "one")
    assert done.returncode == 2
    assert "--tagz" in done.stderr


def test_list_shows_names_tags_and_descriptions(madrun, write_card):
    write_card("b", "tags: [llm, smoke]\ndescription: says b\n")
    write_card("a")
    done = madrun("list")
    assert [line.split() for line in done.stdout.splitlines()] == [["a"], ["b", "llm,smoke", "says", "b"]]
    assert madrun("list", "--tags", "llm").stdout.split()[0] == "b"
    assert madrun("list", "--tags", "a", "b").stdout.count("\n") == 2


def test_list_as_json_holds_the_whole_card(madrun, write_card):
    write_card("b", "tags: [llm]\n")
    (card,) = json.loads(madrun("list", "--json").stdout)
    assert (card["name"], card["tags"], card["script"]) == ("b", ["llm"], "run.sh")


def test_a_broken_card_is_named_and_the_others_are_listed(madrun, write_card):
    write_card("a", "argz: x\n")
    write_card("b")
    done = madrun("list")
    assert done.returncode == 2
    assert done.stdout.split() == ["b"]
    assert "models/a/model.yaml:3: argz" in done.stderr


@pytest.mark.parametrize(
    ("words", "status", "results"),
    [
        ("--status FAILURE csv", "FAILURE", "results"),
        ("--results r csv --status SKIPPED", "SKIPPED", "r"),
        ("--status FAILURE --results r csv --status SUCCESS --results s", "SUCCESS", "s"),
        ("csv --results s", None, "s"),
    ],
)
def test_options_before_and_after_csv_count_and_the_later_one_more(monkeypatch, words, status, results):
    asked = []
    monkeypatch.setattr("madrun.cli.reporting.write_csv", lambda *given: asked.append(given) or 0)
    assert run(["report", *words.split(), "-o", "f"]) == 0
    assert asked == [(results, {"model": None, "tag": None, "status": status, "since": None}, "f")]


def test_a_report_is_json_or_csv_and_not_both(madrun):
    done = madrun("report", "--json", "csv")
    assert done.returncode == 2
    assert "--json before csv" in done.stderr


def test_every_flag_in_the_documentation_exists_and_every_command_is_there():
    text = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
    known = {flag for flags in SURFACE.values() for flag in flags}
    mentioned = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", text)) - {"--help", "--lr", "-it"}
    assert len(mentioned) > 15
    assert mentioned - known == set()
    typed = set(SURFACE) - {"attend"}  # which is what --detach leaves behind
    assert [name for name in typed if f"madrun {name}" not in text] == []
