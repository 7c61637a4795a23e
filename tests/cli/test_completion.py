"""What the shell offers at the tab key."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.cli import completion

pytestmark = pytest.mark.slow


@pytest.fixture
def complete(madrun, write_card, repository, tmp_path):
    """What bash is offered for a line whose last word is unfinished."""
    write_card("llama", "tags: [llm, smoke]\n")
    write_card("sanity", "tags: [smoke]\n")
    (repository / "results" / "runs" / "20261121T000000Z-llama-abcdef-1").mkdir(parents=True)
    (tmp_path / "home/.cache/madrun/agents").mkdir(parents=True)
    for rank in (0, 1):
        (tmp_path / f"home/.cache/madrun/agents/20261122T000000Z-one-abcdef-1-n{rank}.json").touch()

    def ask(line):
        words = line.split(" ")
        env = {"_MADRUN_COMPLETE": "complete_bash", "COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)}
        return madrun(**env).stdout.split()

    return ask


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("madrun ru", ["run"]),
        ("madrun run --tags ", ["all", "llama", "llm", "sanity", "smoke"]),
        ("madrun run --tags ll", ["llama", "llm"]),
        ("madrun run --tags sanity,ll", ["sanity,llama", "sanity,llm"]),
        ("madrun run --tags sanity ll", ["llama", "llm"]),
        ("madrun run --timeout 5 -t sanity smoke l", ["llama", "llm"]),
        ("madrun list --tags sa", ["sanity"]),
        ("madrun run --runtime p", ["podman", "process"]),
        ("madrun run --plan 20261121", ["20261121T000000Z-llama-abcdef-1"]),
        ("madrun explain --run 20261121", ["20261121T000000Z-llama-abcdef-1"]),
        ("madrun status 20261121", ["20261121T000000Z-llama-abcdef-1"]),
        ("madrun status 20261122", ["20261122T000000Z-one-abcdef-1"]),
        ("madrun logs -f 20261121", ["20261121T000000Z-llama-abcdef-1"]),
        ("madrun stop 2026", ["20261122T000000Z-one-abcdef-1"]),
        ("madrun stop --a", ["--all"]),
        ("madrun run --keep-a", ["--keep-alive"]),
        ("madrun run --tags none", []),
    ],
)
def test_bash_is_offered_cards_runs_and_flags(complete, line, offered):
    assert complete(line) == offered


@pytest.mark.parametrize(
    ("line", "part"), [("madrun run --tags sanity ll", "llama"), ("madrun run --runtime p", "podman")]
)
def test_zsh_and_fish_are_offered_the_same(madrun, write_card, line, part):
    write_card("llama")
    zsh = madrun(_MADRUN_COMPLETE="complete_zsh", _TYPER_COMPLETE_ARGS=line).stdout
    fish = {"_TYPER_COMPLETE_FISH_ACTION": "get-args", "_TYPER_COMPLETE_ARGS": line}
    assert part in zsh
    assert part in madrun(_MADRUN_COMPLETE="complete_fish", **fish).stdout


@pytest.mark.parametrize("text", ["name: [\n", "name: 5\nscript: x\n"])
def test_a_broken_card_is_no_offer_and_no_error(complete, repository, text):
    (repository / "models" / "broken").mkdir()
    (repository / "models" / "broken" / "model.yaml").write_text(text)
    assert complete("madrun run --tags ll") == ["llama", "llm"]


def test_a_repository_that_is_not_there_is_no_offer_and_no_error(complete):
    assert complete("madrun run --repo /no/such --tags ll") == []


def test_completion_imports_nothing_heavy(repository, write_card):
    write_card("llama")
    env = {**os.environ, "_MADRUN_COMPLETE": "complete_bash", "COMP_WORDS": "madrun\nrun\n-t\nll", "COMP_CWORD": "3"}
    command = [sys.executable, "-X", "importtime", "-m", "madrun"]
    done = subprocess.run(command, cwd=repository, env=env, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["llama"]
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert not imported & {"docker", "pandas", "numpy", "requests", "torch"}


@given(st.text(max_size=30), st.integers(-2, 9))
def test_no_line_makes_the_spreading_of_tags_fail(text, index):
    for name in ("COMP_WORDS", "_TYPER_COMPLETE_ARGS"):
        before = dict(os.environ)
        os.environ.pop("COMP_WORDS", None)
        os.environ |= {name: text.replace("\0", ""), "COMP_CWORD": str(index)}
        try:
            completion.spread_asked_words()
        finally:
            os.environ.clear()
            os.environ.update(before)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_can_be_installed_for_each_shell(madrun, shell):
    done = madrun("--show-completion", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert done.returncode in (0, 2)
    installed = madrun("--install-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert installed.returncode == 0, installed.stderr
    assert f"{shell} completion installed in" in installed.stdout
