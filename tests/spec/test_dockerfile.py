"""What a Dockerfile says before it is built."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.spec.dockerfile import UnsetArgument, bases, directives, instructions, only_buildkit


@pytest.mark.parametrize(
    ("text", "given", "found"),
    [
        ("FROM a:1\n", {}, ("a:1",)),
        ("ARG B=a:1\nFROM ${B}\n", {}, ("a:1",)),
        ("ARG B=a:1\nFROM ${B}\n", {"B": "b:2"}, ("b:2",)),
        ("arg B\nfrom $B as last\n", {"B": "b:2"}, ("b:2",)),
        ("ARG V=1 NAME='a b'\nFROM x:$V\n", {}, ("x:1",)),
        ("ARG V=1\nARG NAME=x:${V}-dev\nFROM $NAME\n", {}, ("x:1-dev",)),
        ("FROM x:${V:-7}\n", {"V": "8"}, ("x:7",)),  # V is not declared: what is given for it does not count
        ("ARG V\nFROM x:${V:-7}${W:+no}\n", {}, ("x:7",)),
        ("ARG V=\nFROM x:${V:-7}\n", {}, ("x:7",)),
        ("ARG V=1\nFROM x${V+:yes}\n", {}, ("x:yes",)),
        ("FROM --platform=$BUILDPLATFORM a:1 AS b\n", {}, ("a:1",)),
        ("FROM a-${TARGETARCH}\n", {}, ()),
        ("FROM scratch\nCOPY x /\n", {}, ()),
        ("FROM a AS one\nFROM b\nCOPY --from=one / /\n", {}, ("b", "a")),
        ("FROM a AS one\nFROM b\nCOPY --chown=1 --from=0 / /\n", {}, ("b", "a")),
        ("FROM a AS One\nFROM one\n", {}, ("a",)),
        ("FROM unused\nFROM b\n", {}, ("b",)),
        ("FROM b\nCOPY --from=extra:1 / /\nRUN --mount=type=bind,from=tool:2,target=/t true\n", {},
         ("b", "extra:1", "tool:2")),
        ("FROM a\nARG X=1\nRUN echo FROM b\n", {}, ("a",)),
        ("FROM a\nRUN <<EOF\nFROM b\nEOF\n", {}, ("a",)),
        ("FROM a\nRUN cat <<-'END' <<B > x\nFROM b\n\tEND\nFROM c\nB\nUSER x\n", {}, ("a",)),
        ("FROM a\nRUN true \\\n# comment\n\nFROM b\n", {}, ("a",)),
        ("# escape=`\nFROM a `\n AS b\nFROM b\n", {}, ("a",)),
        ("\ufeffFROM a\r\n# FROM b\r\n", {}, ("a",)),
        ("FROM a\nRUN x=$((1<<EOF)) && cat <<<EOF\nFROM b\n", {}, ("b",)),
        ("# nothing\n", {}, ()),
    ],
)  # fmt: skip
def test_the_bases_are_those_of_the_stages_that_the_last_one_needs(text, given, found):
    assert bases(text, given) == found


def test_a_from_without_a_value_names_the_argument_and_the_line():
    with pytest.raises(UnsetArgument, match="line 3: FROM needs the build argument B, which has no value"):
        bases("# x\nARG B\nFROM ${B}:1\n", {"C": "x"})


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("RUN --mount=type=cache,target=/c --network=none x", ("line 2: RUN --mount", "line 2: RUN --network")),
        ("COPY --link a b", ("line 2: COPY --link",)),
        ("COPY --chmod=644 a b", ("line 2: COPY --chmod",)),
        ("ADD --checksum=sha256:x http://x /x", ("line 2: ADD --checksum",)),
        ("RUN <<EOF\ntrue\nEOF", ("line 2: RUN <<",)),
        ("COPY --chown=1:1 --from=x a b", ()),
        ("RUN echo --mount", ()),
        ("HEALTHCHECK --interval=5s CMD true", ()),
        ("RUN cat <<<x", ()),
    ],
)
def test_what_only_buildkit_can_do_is_named_with_its_line(line, found):
    assert only_buildkit(f"FROM a\n{line}\n") == found


def test_directives_stand_at_the_top_alone():
    text = "# syntax=docker/dockerfile:1\n#Escape = `\n\n# check=skip\nFROM a\n"
    assert directives(text) == {"syntax": "docker/dockerfile:1", "escape": "`"}
    assert directives("FROM a\n# syntax=x\n") == {}


@given(st.text())
def test_any_text_is_read_without_an_accident(text):
    for instruction in instructions(text):
        assert 1 <= instruction.line <= text.count("\n") + 1
    only_buildkit(text)
    try:
        bases(text, {})
    except UnsetArgument as unset:
        assert "FROM needs the build argument" in str(unset)


WORD = st.text("abcxyz019/:._-", min_size=1, max_size=12).filter(lambda word: not word.isdigit() and word != "scratch")


@given(st.lists(st.tuples(WORD, st.booleans()), min_size=1, max_size=5))
def test_the_base_given_for_an_argument_is_the_base(stages):
    text = "ARG BASE=default\n"
    for image, by_argument in stages:
        text += "FROM ${BASE}\n" if by_argument else f"FROM {image}\n"
    image, by_argument = stages[-1]
    assert bases(text, {"BASE": "given:1"}) == (("given:1",) if by_argument else (image,))
