"""`--tags a b c`, as existing users type it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.cli.argv import as_switches, inline_context, spread_tags, tags_of, with_tag


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("run --tags a", "run --tags a"),
        ("run --tags a b c", "run --tags a --tags b --tags c"),
        ("run --tags a b --timeout 5 --tags c", "run --tags a --tags b --timeout 5 --tags c"),
        ("run -t a b", "run -t a --tags b"),
        ("run --tags a,b c", "run --tags a,b --tags c"),
        ("report csv -o x", "report csv -o x"),
        ("explain --tags a NCCL_DEBUG", "explain --tags a NCCL_DEBUG"),
        ("run --repo d --tags a -c {}", "run --repo d --tags a -c {}"),
    ],
)
def test_words_after_tags_are_tags(typed, meant):
    assert spread_tags(typed.split()) == meant.split()


@pytest.mark.parametrize(
    ("typed", "again"),
    [
        ("madrun run --tags a b --timeout 5", "madrun run --timeout 5 --tags x"),
        ("madrun run --timeout 5 -t a -t b", "madrun run --timeout 5 --tags x"),
        ("madrun run --tags=a --repo d", "madrun run --repo d --tags x"),
        ("madrun run -ta --repo d", "madrun run --repo d --tags x"),
    ],
)
def test_a_command_can_be_said_again_for_one_tag(typed, again):
    assert with_tag(tuple(typed.split()), "x") == tuple(again.split())


@pytest.mark.parametrize(
    ("typed", "tags"),
    [
        ("run --tags a b:x=1 --timeout 5 -t c", ["a", "b:x=1", "c"]),
        ("run -ta --tags=b,c d --json", ["a", "b,c"]),
        ("run --plan x", []),
        ("run --tags", []),
    ],
)
def test_the_tags_of_a_command_are_known(typed, tags):
    assert tags_of(tuple(typed.split())) == tags


@given(st.lists(st.sampled_from(["run", "--tags", "-t", "a", "b", "--json", "-c"]), max_size=8))
def test_no_word_is_lost_and_nothing_but_tags_is_added(words):
    spread = spread_tags(words)
    kept = iter(spread)
    assert all(word in kept for word in words)
    assert set(spread) <= {*words, "--tags"}


@given(st.lists(st.sampled_from(["run", "--tags", "-t", "a", "b", "--json"]), max_size=8))
def test_spreading_twice_changes_nothing(words):
    assert spread_tags(spread_tags(words)) == spread_tags(words)


@pytest.mark.parametrize(
    ("typed", "index", "head"),
    [
        ("run -c {}", 2, ""),
        ("run --additional-context {}", 2, ""),
        ("run -c{}", 1, "-c"),
        ("run --additional-context={}", 1, "--additional-context="),
        ("run -c{} -c {}", 3, ""),
        ("run -c {} -c{} --json", 3, "-c"),
        ("run -c -c1", 2, ""),
        ("run --arg -c4", None, ""),
        ("run --arg -c -c {}", 4, ""),
        ("run -e -c={} -c{}", 3, "-c"),
    ],
)
def test_the_inline_context_that_counts_is_found_in_every_form(typed, index, head):
    assert inline_context(typed.split()) == (None if index is None else (index, head))


def test_a_context_file_is_no_inline_context():
    assert inline_context(["--additional-context-file", "x", "--additional-context-file=y", "-f", "c"]) is None


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--generate-sys-env-details", "True", "--tags"], ["--sys-env-details", "--tags"]),
        (["--generate-sys-env-details", "false"], ["--no-sys-env-details"]),
        (["--generate-sys-env-details=no", "x"], ["--no-sys-env-details", "x"]),
        (["--generate-sys-env-details", "x"], ["--sys-env-details", "x"]),
        (["--generate-sys-env-details"], ["--sys-env-details"]),
        (["run", "--tags", "true"], ["run", "--tags", "true"]),
    ],
)
def test_the_old_switch_with_a_word_behind_it_is_the_new_one(words, expected):
    assert as_switches(words) == expected
