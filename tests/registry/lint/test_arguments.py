"""Arguments that a script's parser does not know."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.registry.lint.arguments import of_python, of_shell
from madrun.registry.lint.scripts import Script
from madrun.registry.lint.texts import Text

CASE = """while [[ $# -gt 0 ]]; do
  case "$1" in
    -m|--model) MODEL=$2; shift 2 ;;
    --fast) FAST=1; shift ;;
    *) echo "unknown $1"; exit 1 ;;
  esac
done
"""
GETOPTS = 'while getopts "m:bh" opt; do case $opt in m) M=$OPTARG ;; esac; done\n'
ARGPARSE = """import argparse
parser = argparse.ArgumentParser()
parser.add_argument("-m", "--model-name")
parser.add_argument("--fast", action=argparse.BooleanOptionalAction)
args = parser.parse_args()
"""
HITS = [
    ("run.sh", CASE, "--modle x"),
    ("run.sh", GETOPTS, "-m x -z"),
    ("run.py", ARGPARSE, "--batch 3"),
    ("run.py", ARGPARSE, "--model-name x --slow"),
]
MISSES = [
    ("run.sh", CASE, "--model x --fast"),
    ("run.sh", CASE.replace("exit 1", "shift"), "--other"),
    ("run.sh", CASE.replace("--fast)", "--fast|--*)"), "--other"),
    ("run.sh", 'python3 x.py "$@"\n', "--other"),
    ("run.sh", GETOPTS, "-mx -b"),
    ("run.py", ARGPARSE, "--model x --no-fast -mx"),
    ("run.py", ARGPARSE.replace("parse_args", "parse_known_args"), "--other"),
    ("run.py", ARGPARSE + "add_model_args(parser)\n", "--other"),
    ("run.py", ARGPARSE.replace('"--fast"', "name"), "--other"),
    ("run.py", ARGPARSE.replace("ArgumentParser()", "ArgumentParser(parents=[x])"), "--other"),
    ("run.py", "import click\n", "--other"),
    ("run.py", "add_argument(\n", "--other"),
    ("run.py", ARGPARSE, "--model-name 'unbalanced"),
]


def given_args(checkout, name, text, args):
    checkout.write(f"scripts/a/{name}", text)
    checkout.cards({"scripts": f"scripts/a/{name}", "args": args})
    return [rule for rule in checkout.rules() if rule == "unknown-argument"]


@pytest.mark.parametrize(("name", "text", "args"), HITS)
def test_an_argument_that_the_parser_does_not_know_is_found(checkout, name, text, args):
    assert given_args(checkout, name, text, args) == ["unknown-argument"]


@pytest.mark.parametrize(("name", "text", "args"), MISSES)
def test_nothing_is_said_where_the_parser_knows_it_or_cannot_be_read_off(checkout, name, text, args):
    assert given_args(checkout, name, text, args) == []


@given(st.text(alphabet="case in*)(;-$1\"'getopts esac\n|exit 2") | st.text())
def test_no_script_makes_the_readers_raise(text):
    of_shell(Script(Text("x.sh", text)))
    of_python(f"add_argument{text}")
