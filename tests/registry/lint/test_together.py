"""What several cards or files do together, Dockerfile headers, broken files, and what is not reported."""

import json
import time
from collections import Counter

import pytest

from madrun.registry.lint import inspection

HEADER = "# CONTEXT {'gpu_vendor': 'AMD', 'guest_os': 'UBUNTU'}\n"
DOCKERFILES = [
    (["no-header"], "FROM base\n"),
    (["no-header"], "FROM base\n\n\n\n\n\n" + HEADER),
    (["broken-header"], "# CONTEXT {'gpu_vendor': AMD}\nFROM base\n"),
    (["broken-header"], "# CONTEXT {'gpu_vendor': 'AMD'\nFROM base\n"),
    (["broken-header"], "# CONTEXT ['AMD']\nFROM base\n"),
    ([], "# CONTEXT {}\nFROM base\n"),
    ([], "# syntax=docker/dockerfile:1\n\n" + HEADER + "FROM base\n"),
    ([], HEADER + "# CONTEXT of this file\nFROM base\n"),
]


@pytest.mark.parametrize(("rules", "text"), DOCKERFILES)
def test_the_header_of_a_dockerfile(checkout, rules, text):
    checkout.write("docker/a.ubuntu.amd.Dockerfile", text)
    assert checkout.rules() == rules


def test_cards_that_write_one_csv_are_one_finding(checkout):
    checkout.write("scripts/a/run.sh", "cp out perf.csv\n")
    checkout.cards(*({"name": f"a{number}", "multiple_results": "perf.csv"} for number in range(20)))
    (found,) = checkout.inspect().findings
    assert (found.rule, len(found.cards)) == ("shared-csv", 20)
    assert found.found == "perf.csv is written by 20 cards"
    checkout.cards({"name": "a", "multiple_results": "perf.csv"}, {"name": "b"})
    assert checkout.rules() == []


def test_time_limits_below_zero_are_one_finding_a_file(checkout):
    checkout.cards({"timeout": -1}, {"name": "b", "timeout": -1}, {"name": "c", "timeout": 7200})
    (found,) = checkout.inspect().findings
    assert (found.rule, found.cards) == ("no-time-limit", ("a", "b"))


def test_a_name_that_stands_twice_is_found_once_with_both_lines(checkout):
    checkout.cards({}, {})
    found = [finding for finding in checkout.inspect().findings if "a" in finding.found]
    assert [finding.rule for finding in found] == ["duplicate-name"]
    assert "first in line 3" in found[0].found
    checkout.cards({}, {"name": "A"})
    assert checkout.rules() == []


def test_two_forms_in_one_folder_are_found(checkout):
    checkout.write("scripts/b/models.json", "[]")
    assert checkout.rules() == []
    checkout.write("scripts/b/get_models_json.py", "def list_models():\n    return []\n")
    assert checkout.rules() == ["two-forms"]


@pytest.mark.parametrize("name", ["data.json", "credential.json", "scripts/common/tools.json"])
def test_a_broken_json_file_is_a_finding_with_its_line(checkout, name):
    checkout.write(name, '{"a":\n oops}')
    assert checkout.found() == [("broken-json", f"{name}:2")]
    checkout.write(name, "[]")
    assert checkout.found() == [("broken-json", f"{name}:1")]
    checkout.write(name, "{}")
    assert checkout.found() == []


def test_a_broken_models_json_is_a_finding_with_its_line(checkout):
    checkout.write("scripts/b/models.json", "[\n{]")
    assert checkout.found() == [("broken-card", "scripts/b/models.json:2")]


def test_a_step_of_a_tool_that_is_not_there_is_found(checkout):
    tools = {"tools": {"t": {"pre_scripts": [{"path": "scripts/gone.sh"}, {"path": "scripts/a/run.sh"}], "cmd": "x"}}}
    checkout.write("scripts/common/tools.json", json.dumps(tools, indent=1))
    assert [rule for rule, _ in checkout.found()] == ["no-step"]


def test_a_comment_silences_a_rule_for_its_line_and_the_next(checkout):
    line = 'echo "performance: 1 pass"'
    checkout.write("scripts/a/run.sh", f"# madrun: ignore constant-result, masked-pipe\n{line}\n{line}\n")
    assert checkout.found() == [("constant-result", "scripts/a/run.sh:3")]
    checkout.write("scripts/a/run.sh", f"{line}  # madrun: ignore constant-result\n")
    assert checkout.found() == []
    checkout.write("scripts/a/run.sh", f"{line}  # madrun: ignore masked-pipe\n")
    assert checkout.rules() == ["constant-result"]
    assert checkout.inspect("constant-result").findings == ()


def test_what_is_too_long_is_named_and_what_is_no_text_is_left_alone(checkout):
    checkout.write("scripts/a/weights.txt", b"x" * (1 << 21))
    checkout.write("scripts/a/tool", b"\x7fELF\0\0AKIA")
    checkout.write("scripts/a/latin.py", "x = 'é'\n".encode("latin-1"))
    assert checkout.found() == [("not-read", "scripts/a/weights.txt:1")]


@pytest.mark.slow
def test_of_many_cards_each_is_examined_once_and_a_shared_script_once(checkout, monkeypatch):
    shared = "x\n" * 200 + "python3 -m train | tee log\n"
    for folder in range(20):
        checkout.write(f"scripts/s{folder}/run.sh", shared)
    cards = [{"name": f"c{at}", "scripts": f"scripts/s{at % 20}/run.sh"} for at in range(400)]
    checkout.cards(*cards)
    examined = Counter()
    shell, view = inspection._shell, inspection.CardView
    monkeypatch.setattr(
        inspection, "_shell", lambda script, *rest: examined.update([script.text.name]) or shell(script, *rest)
    )
    monkeypatch.setattr(inspection, "CardView", lambda card, *rest: examined.update([card.name]) or view(card, *rest))
    found = checkout.inspect()
    assert (found.cards, found.files, len(found.findings)) == (400, 22, 20)
    assert {name for name in examined if name.endswith(".sh")} == {f"scripts/s{at}/run.sh" for at in range(20)}
    assert {count for name, count in examined.items() if name.endswith(".sh")} == {1}
    # a view to hold the card against its rules, and one for the place of its listing: none is made card by card
    assert {count for name, count in examined.items() if not name.endswith(".sh")} == {2}


LONG = [
    "--" + "a_" * 20000,
    "x" * 200000,
    "$A" * 20000,
    "a=" * 20000,
    "timeout -a " * 5000,
    "case $1 in " + "a |" * 9000,
]
LONG += [
    "open(" * 9000,
    "set " + "-a" * 9000,
    "/" + "a." * 40000,
    "'" * 9001,
    "performance: " + "1" * 30000,
    "(" * 30000,
]


@pytest.mark.parametrize("line", LONG, ids=[line[:8] for line in LONG])
def test_no_line_however_long_holds_the_examination_up(checkout, line):
    checkout.cards({"multiple_results": "never.csv", "args": "--x"})
    checkout.write("scripts/a/run.sh", f"{line}\necho x.csv\n")
    checkout.write("scripts/a/x.py", f"{line}\n")
    began = time.process_time()
    checkout.inspect()
    assert time.process_time() - began < 2
