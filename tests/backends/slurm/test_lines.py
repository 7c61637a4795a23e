"""Lines that sbatch reads."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.backends.slurm.lines import line_problem, option, options_of, pattern, quoted, word_problem

LINE = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")))


@given(LINE)
def test_a_quoted_value_is_one_word_and_the_same_text(text):
    assert shlex.split(option("comment", text))[1:] == [f"--comment={text}"] or text.startswith("#")
    assert shlex.split(quoted(text)) == [text]


@given(LINE)
def test_what_was_written_is_read_again(text):
    script = f"#!/bin/sh\n{option('exclusive')}\n{option('comment', text)}\necho --time=3\n"
    assert options_of(script) == {"exclusive": "", "comment": text}


def test_a_percent_sign_of_a_path_begins_no_replacement():
    assert pattern("/a%j/b") == "/a%%j/b"


@pytest.mark.parametrize("line", ["--licenses=a:1", "--licenses a:1", "--spread-job", "--gres-flags=enforce-binding"])
def test_a_further_option_of_sbatch_may_stand(line):
    assert line_problem(line) == ""


@pytest.mark.parametrize("line", ["licenses=a", "-p x", "#SBATCH --x", "--x=1\n#SBATCH --y", "", "--", "--X=1"])
def test_what_is_no_option_is_refused(line):
    assert "allowed: one option of sbatch a line" in line_problem(line)


@pytest.mark.parametrize("line", ["--ntasks=4", "--output=/x", "--open-mode=truncate", "--export=NONE", "--wrap=ls"])
def test_what_madrun_sets_itself_is_refused(line):
    assert "which madrun sets itself" in line_problem(line)


@pytest.mark.parametrize(
    ("line", "key"),
    [("--time=1", "slurm.time"), ("--gpus-per-task 4", "slurm.gpus"), ("--nodes=2", "--nodes"), ("--requeue", "slurm")],
)
def test_what_has_a_key_of_its_own_names_it(line, key):
    assert f"; {key}" in line_problem(line)


@given(st.text())
def test_a_line_of_any_text_is_one_line_or_refused(text):
    assert line_problem(text) or (text.startswith("--") and "\n" not in text)


@given(st.text())
def test_a_word_of_any_text_is_one_word_or_refused(text):
    assert word_problem(text) or shlex.split(text, comments=False) == [text]
