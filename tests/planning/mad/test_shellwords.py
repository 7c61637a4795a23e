"""Options as words: as a shell reads them, with the host's variables, and nothing executed."""

import shlex
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.planning.mad.shellwords import shell_words

ENV = {"A": "x y", "B": "b", "HOME": "/home/u", "EMPTY": "", "GAP": " p  q "}


def texts(text):
    return [word.text for word in shell_words(text, ENV)]


# Compared with a real shell below: what is written here was read by it.
CASES = [
    "a  b\tc",
    "'a b' \"c d\" e\\ f",
    "-v ${HOME}/x:/x --y=$B",
    "$A ${A} \"$A\" '$A'",
    "pre$GAP'post' ${GAP}",
    '"" \'\' $EMPTY ""$EMPTY',
    "${NONE:-dflt} ${EMPTY:-e} ${EMPTY-e} ${B:-z}",
    "~/d a~b ~",
    "\"q\\\"q\" \"a\\zb\" 'it'\\''s'",
    "a\\\nb",
    "5$ $",
]


@pytest.mark.parametrize("text", CASES)
def test_words_are_those_of_a_shell(text):
    done = subprocess.run(
        ["bash", "-fc", f"printf '%s\\0' {text}"], env=ENV, capture_output=True, check=True, text=True
    )
    assert texts(text) == done.stdout.split("\0")[:-1]


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12), max_size=5))
def test_any_quoted_words_come_out_as_they_went_in(words):
    assert texts(shlex.join(words)) == words


@given(st.text(st.sampled_from("ab $'\"\\{}:-~;|&()<>`\n\tAB"), max_size=20))
def test_any_text_is_words_or_an_error(text):
    try:
        texts(text)
    except ValueError as error:
        assert str(error).startswith(("found ", "$"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("$NOPE", r"\$NOPE is not set on this host"),
        ("${NOPE}", r"\$NOPE is not set on this host"),
        ("$(id)", "allowed: \\$NAME"),
        ("a`id`", "another command"),
        ('"`id`"', "would run a command"),
        ("a; b", "another command"),
        ("a > b", "another command"),
        ("'a", "not closed"),
        ('"a', "not closed"),
        ("a\\", "backslash at the end"),
        ("${A%x}", "allowed: \\$NAME"),
    ],
)
def test_what_is_more_than_words_is_refused(text, words):
    with pytest.raises(ValueError, match=words):
        texts(text)


def test_each_word_knows_whose_values_stand_in_it():
    found = shell_words("x=$B $A plain", ENV)
    assert [(word.text, set(word.names)) for word in found] == [
        ("x=b", {"B"}),
        ("x", {"A"}),
        ("y", {"A"}),
        ("plain", set()),
    ]
