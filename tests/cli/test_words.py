"""Options as words again: the parser reads from them what they were."""

from dataclasses import fields
from types import UnionType
from typing import get_args, get_type_hints

import pytest
import typer
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from madrun.cli.argv import TAGS, as_switches, spread_tags
from madrun.cli.launchoptions import LaunchOptions
from madrun.cli.madoptions import RepositoryOptions, RunFiles
from madrun.cli.options import RunOptions, Show, takes
from madrun.cli.words import words_of

GROUPS = (RunOptions, RepositoryOptions, RunFiles, Show, LaunchOptions)
TEXT = st.text(st.characters(codec="utf-8"), max_size=12).filter(lambda text: text not in TAGS)
# What follows --tags is a tag until the next flag.
TAG = TEXT.filter(lambda text: not text.startswith("-"))


def values_of(hint, name):
    """What an option of this type may be."""
    inner, option = get_args(hint)
    kinds = get_args(inner) if isinstance(inner, UnionType) else (inner,)
    found = []
    for kind in kinds:
        if kind is type(None):
            found.append(st.none())
        elif kind is bool:
            flags = (option.default, *option.param_decls)
            both = any("/" in str(flag) for flag in flags)
            found.append(st.booleans() if both or type(None) not in kinds else st.just(True))
        elif kind is int:
            found.append(st.integers(1, 10**6))
        elif kind is str:
            found.append(TEXT)
        else:
            found.append(st.lists(TAG if name == "tags" else TEXT, min_size=1, max_size=3))
    return st.one_of(found)


def any_of(group):
    """A strategy for values of a group of options."""
    hints = get_type_hints(group, include_extras=True)
    return st.builds(group, **{one.name: values_of(hints[one.name], one.name) for one in fields(group)})


def parsed(group, words):
    """What the real parser makes of the words."""
    seen = []
    app = typer.Typer()

    @app.command()
    @takes(group=group)
    def command(group):
        seen.append(group)

    # Without a context of files, environment variables or completion: the words alone.
    typer.main.get_command(app).main(as_switches(spread_tags(words)), standalone_mode=False)
    return seen[0]


@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS)
@settings(max_examples=40, phases=[phase for phase in Phase if phase is not Phase.shrink])
@given(data=st.data())
def test_the_parser_reads_the_same_options_from_their_words(group, data):
    value = data.draw(any_of(group))
    assert parsed(group, words_of(value)) == value


@pytest.mark.parametrize("group", GROUPS)
def test_what_was_not_given_has_no_words(group):
    words = words_of(group(), leave_out=("results",))
    assert words == []


def test_a_switch_with_two_names_is_said_either_way():
    assert words_of(RunFiles(live_output=False)) == ["--no-live-output"]
    assert words_of(RunFiles(live_output=True)) == ["--live-output"]
    assert words_of(RunFiles(live_output=None)) == []


def test_an_option_can_be_left_out():
    options = RunOptions(tags=["a", "b"], env=["A=1"], repo="r")
    assert words_of(options, ("env", "repo", "results")) == ["--tags", "a", "--tags", "b"]
