"""House rules that a reader of the code relies on: no emoji, no print outside cli/, no catch-all in between."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = sorted((ROOT / "madrun").rglob("*.py"))
NAMES = [str(path.relative_to(ROOT)) for path in PACKAGE]


def calls(tree, name):
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
    ]


def is_emoji(letter):
    return ord(letter) > 0xFFFF or 0x2600 <= ord(letter) <= 0x27BF


def test_there_are_modules_to_look_at():
    assert len(PACKAGE) > 40


@pytest.mark.parametrize("path", PACKAGE, ids=NAMES)
def test_a_module_has_no_emoji_and_says_what_it_is_for(path):
    text = path.read_text(encoding="utf-8")
    assert [letter for letter in text if is_emoji(letter)] == []
    assert ast.get_docstring(ast.parse(text)) or path.name == "__init__.py"
    assert len(text.splitlines()) <= 300


@pytest.mark.slow
def test_nothing_prints_outside_the_command_line():
    found = {name: calls(ast.parse(path.read_text()), "print") for name, path in zip(NAMES, PACKAGE, strict=True)}
    assert {name: lines for name, lines in found.items() if lines and not name.startswith("madrun/cli/")} == {}


def test_the_environment_is_read_only_in_cli_and_probe():
    found = [
        name
        for name, path in zip(NAMES, PACKAGE, strict=True)
        if any(word in path.read_text() for word in ("os.environ", "os.getenv"))
    ]
    programs = {  # started without the package around them
        "madrun/backends/kubernetes/pod.py",
        "madrun/doctor/programs/all_reduce.py",
        "madrun/runners/rank.py",
        "madrun/registry/mad/shim/ask_generator.py",
    }
    assert [
        name for name in found if not name.startswith(("madrun/cli/", "madrun/probe/")) and name not in programs
    ] == []


@pytest.mark.slow
def test_everything_is_caught_only_where_a_run_a_loop_or_a_thread_would_end():
    found = []
    for name, path in zip(NAMES, PACKAGE, strict=True):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ExceptHandler) and (node.type is None or ast.unparse(node.type) == "Exception"):
                found.append(name)
    boundaries = {
        "madrun/doctor/host.py",  # the thread of a check
        "madrun/node/agent.py",  # a step of a run
        "madrun/node/conduct.py",  # the copies of a run's files
        "madrun/node/channel/boundary.py",  # node 0's event loop
        "madrun/node/channel/link.py",  # the thread that listens to node 0
        "madrun/node/watching/watch.py",  # the thread that samples
    }
    assert sorted(found) == sorted(boundaries)
