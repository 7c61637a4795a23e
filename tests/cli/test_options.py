"""A group of options is written once and taken by several commands as one value."""

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from madrun.cli.options import takes


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Two options."""

    word: Annotated[str, typer.Option("--word", "-w", help="A word.")] = "default"
    words: Annotated[list[str] | None, typer.Option("--many", help="Many words.")] = None


@pytest.fixture
def called():
    """Runs the command; gives what its function was called with, or the exit code where it was not."""
    seen = []
    app = typer.Typer()

    @app.command()
    @takes(group=Group)
    def command(group: Group, own: Annotated[int, typer.Option("--own", help="Its own.")] = 1) -> None:
        seen.append((group, own))

    def run(*words):
        result = CliRunner().invoke(app, list(words))
        return seen[-1] if seen else result.exit_code

    return run


def test_options_of_a_group_and_of_the_command_itself_come_together(called):
    assert called() == (Group(), 1)
    assert called("-w", "x", "--many", "a", "--many", "b", "--own", "2") == (Group(word="x", words=["a", "b"]), 2)


def test_an_option_that_no_group_has_is_refused(called):
    assert called("--other") == 2
