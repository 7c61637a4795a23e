"""Reading bash line by line: comments, quotes, here-documents, continuations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.registry.lint.scripts import SHELL_RULES, Script
from madrun.registry.lint.secrets import TRACED_SECRET, traced_names
from madrun.registry.lint.shell import code_lines
from madrun.registry.lint.texts import Text

WORDS = ["<<EOF", "EOF", "<<-'X'", "if", "fi", "case", "esac", "| tee", "set -x", "\r\n"]
PIECES = st.lists(st.sampled_from([*"'\"\\#\n;&|<>(){}$ a", *WORDS]))


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a # b", ["a"]),
        ("a#b", ["a#b"]),
        ("echo '# b' # c", ["echo '# b'"]),
        ('echo "a # $b"', ['echo "a # $b"']),
        ("a \\\n  b", ["a    b"]),
        ("a |\nb", ["a | b"]),
        ("a &&\nb\nc", ["a && b", "c"]),
        ("echo 'a\nb'\nc", ["echo 'a\nb'", "c"]),
        ("cat <<EOF\nx\nEOF\ny", ["cat <<EOF", "y"]),
        ("cat <<-'END' | sort\nx\n\tEND\ny", ["cat <<-'END' | sort", "y"]),
        ("cat <<<EOF\nx", ["cat <<<EOF", "x"]),
        ("echo $((1 << 2))\nx", ["echo $((1 << 2))", "x"]),
        ("cat <<EOF\nnever ends\n", ["cat <<EOF", "never ends"]),
        ("", []),
    ],
)
def test_what_bash_carries_out(text, lines):
    assert [line.text for line in code_lines(text)] == lines


def test_quoted_text_is_set_apart_letter_by_letter():
    (line,) = code_lines("echo \"a | b\" 'c; d' e\\;f")
    assert line.bare == "echo \"qqqqq\" 'qqqq' e\\qf"
    assert len(line.bare) == len(line.text)


def test_the_depth_of_a_line():
    text = "a\nif x; then\n  b\n  while y; do\n    c\n  done\nfi\nd\nf() {\n  e\n}\ng\n"
    depths = {line.text.strip(): line.depth for line in code_lines(text)}
    assert [depths[name] for name in "abcdeg"] == [0, 1, 2, 0, 1, 0]


@given(PIECES)
def test_reading_never_raises_and_lines_keep_step(pieces):
    text = "".join(pieces)
    lines = code_lines(text)
    assert [line.number for line in lines] == sorted({line.number for line in lines})
    assert all(1 <= line.number <= text.count("\n") + 1 and line.depth >= 0 for line in lines)
    assert all(len(line.bare.rstrip()) <= len(line.text) for line in lines)


@given(PIECES | st.lists(st.text()))
def test_no_rule_ever_raises(pieces):
    script = Script(Text("x.sh", "".join(pieces)))
    for rule in (*SHELL_RULES, TRACED_SECRET):
        assert all(hit.line >= 1 for hit in rule.check(script))
    traced_names(script)
