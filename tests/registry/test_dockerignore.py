"""A .dockerignore leaves out what Docker would leave out."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.errors import CardError
from madrun.registry.dockerignore import match, read_patterns


def left_out(text, path):
    """Whether the path is left out, asked folder by folder as a walk does."""
    patterns = read_patterns(text, ".dockerignore")
    hits, out = (), False
    parts = path.split("/")
    for depth in range(1, len(parts) + 1):
        out, hits = match("/".join(parts[:depth]), patterns, hits)
    return out


@pytest.mark.parametrize(
    ("pattern", "out", "kept"),
    [
        ("a", ["a", "a/b"], ["b/a", "ab", "A"]),
        ("/a", ["a"], ["b/a"]),
        ("a/", ["a", "a/b"], ["b"]),
        ("./a/../b", ["b"], ["a"]),
        ("*.py", ["x.py"], ["d/x.py", "x.pyc"]),
        ("*/*.py", ["d/x.py"], ["x.py", "d/e/x.py"]),
        ("**/*.py", ["x.py", "d/x.py", "d/e/x.py"], ["x.pyc"]),
        ("**/cache", ["cache/x", "d/cache", "d/e/cache/x"], ["mycache"]),
        ("**cache", ["cache", "mycache", "d/mycache"], ["cached"]),
        ("**", ["a", "a/b"], []),
        ("d/**", ["d/a", "d/e/f"], ["d", "e"]),
        ("d/**/x", ["d/x", "d/e/x"], ["x", "d/y"]),
        ("temp?", ["temp1", "temp1/x"], ["temp", "temp12", "d/temp1"]),
        ("x[0-9]", ["x5"], ["xa"]),
        ("x[^0-9]", ["xa", "x^"], ["x5"]),
        ("x[!a]", ["x!", "xa"], ["xb"]),
        (r"\*", ["*"], ["a"]),
        (r"\!a", ["!a"], ["a"]),
        (r"x[\]-a]", ["x]", "x_"], ["xb"]),
        ("a.b+(c)", ["a.b+(c)"], ["axbbc"]),
        ("  spaced  ", ["spaced"], []),
        ("# a", [], ["# a", "a"]),
        ("", [], ["a"]),
        (".", [], ["a"]),
        ("/", [], ["a"]),
        ("\ufeffa\r\nb\r", ["a", "b"], []),
        ("é?", ["éß"], ["e?"]),
    ],
)
def test_a_pattern_leaves_out_what_docker_would(pattern, out, kept):
    assert [path for path in out if not left_out(pattern, path)] == []
    assert [path for path in kept if left_out(pattern, path)] == []


@pytest.mark.parametrize(
    ("lines", "out", "kept"),
    [
        (["*", "!a"], ["b"], ["a", "a/b"]),
        (["*", "!a/b"], ["a", "a/c"], ["a/b", "a/b/c"]),
        (["!a", "*"], ["a"], []),
        (["*.md", "!README*.md", "README-secret.md"], ["x.md", "README-secret.md"], ["README.md", "README-all.md"]),
        (["**", "!**/*.py"], ["a.txt", "d"], ["a.py", "d/a.py"]),
        (["d", "! d/keep "], ["d/a"], ["d/keep"]),
        # Whatever the folder's own decision was, the last pattern that hits the file or a folder above it decides.
        (["a", "!a/b", "a/b/c"], ["a/b/c"], ["a/b", "a/b/d"]),
    ],
)
def test_the_last_pattern_that_hits_decides(lines, out, kept):
    text = "\n".join(lines)
    assert [path for path in out if not left_out(text, path)] == []
    assert [path for path in kept if left_out(text, path)] == []


@pytest.mark.parametrize("line", ["[", "a[]", "[a-", "a\\", "!", "! ", "[b-a]", "[a-]", "[^]"])
def test_a_line_that_is_no_pattern_is_named(line):
    with pytest.raises(CardError, match=r"x/.dockerignore:2: found .*allowed: a path"):
        read_patterns(f"fine\n{line}\n", "x/.dockerignore")


NAMES = st.text(string.ascii_letters + string.digits + "._- é", min_size=1, max_size=8).filter(
    lambda name: name.strip(" ") == name and name not in (".", "..") and not name.startswith(("!", "#"))
)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
LITERALS = st.text(string.printable.replace("/", "").translate({ord(c): None for c in string.whitespace}), min_size=1)


@given(st.text())
def test_any_text_is_patterns_or_an_error(text):
    try:
        patterns = read_patterns(text, "f")
    except CardError as error:
        assert str(error).startswith("f:")
        return
    match("a/b", patterns, ())


@given(PATHS, PATHS)
def test_a_plain_path_leaves_out_itself_and_what_lies_in_it_and_nothing_else(pattern, path):
    assert left_out(pattern, path) == (path == pattern or path.startswith(f"{pattern}/"))


@given(LITERALS)
def test_a_name_with_every_special_character_escaped_means_itself(name):
    if name in (".", ".."):
        return
    escaped = "".join(f"\\{sign}" for sign in name)
    assert left_out(escaped, name)
    assert not left_out(escaped, f"{name}x")
    assert not left_out(escaped, f"x{name}")


@given(PATHS)
def test_two_stars_reach_every_depth(path):
    last = path.rpartition("/")[2]
    assert left_out(f"**/{last}", path)
    assert left_out("**", path)
    assert left_out(f"{path}/**", f"{path}/x/y")


@given(st.lists(PATHS, max_size=4), PATHS)
def test_an_exception_for_the_path_itself_at_the_end_keeps_it(patterns, path):
    assert not left_out("\n".join([*patterns, "*", f"!{path}"]), path)
