"""Colour only where a terminal shows it and nobody has refused it."""

import os
import pty

import pytest

from madrun.cli.colour import painted, wanted


@pytest.fixture
def terminal():
    ours, theirs = pty.openpty()
    yield theirs
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({}, True),
        ({"TERM": "xterm"}, True),
        ({"NO_COLOR": "1"}, False),
        ({"NO_COLOR": ""}, True),  # no-color.org: "when present and not an empty string"
        ({"TERM": "dumb"}, False),
    ],
)
def test_a_terminal_is_coloured_unless_it_or_its_user_refuses(terminal, env, expected):
    assert wanted(terminal, env) is expected


def test_a_file_and_a_closed_descriptor_are_not_coloured(tmp_path):
    with (tmp_path / "log").open("w") as file:
        number = file.fileno()
        assert not wanted(number, {})
    assert not wanted(number, {})


def test_the_word_of_a_verdict_is_painted_where_it_stands_as_one():
    lines = ["SUCCESS one", "FAILURE two", "  one  SUCCESS  5 x/s", "the script said SUCCESS", "  SUCCESSFUL"]
    assert painted(lines, True) == [
        "\x1b[32mSUCCESS\x1b[0m one",
        "\x1b[31mFAILURE\x1b[0m two",
        "  one  \x1b[32mSUCCESS\x1b[0m  5 x/s",
        "the script said SUCCESS",
        "  SUCCESSFUL",
    ]
    assert painted(lines, False) is lines
