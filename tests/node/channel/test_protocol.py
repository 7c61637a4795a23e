"""One JSON object a line; a stranger's bytes are not ours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.node.channel.protocol import VERSION, NotOurs, decode, encode, hello, is_hello, text_of

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.text(max_size=10), st.dictionaries(st.text(max_size=5), plain, max_size=4))
def test_a_message_is_one_line_and_comes_back_as_it_was(kind, content):
    message = content | {"type": kind}
    line = encode(message)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert decode(line) == message


@given(st.binary(max_size=60) | st.text(max_size=30).map(str.encode))
def test_any_bytes_are_a_message_or_not_ours(line):
    try:
        message = decode(line)
    except NotOurs:
        return
    assert isinstance(message["type"], str)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"GET / HTTP/1.1\r\n",
        b"SSH-2.0-x\r\n",
        b"[]",
        b"3",
        b'{"a": 1}',
        b'{"type": 3}',
        b"\xff\xff",
        b"[" * 100_000,
        b'{"type": "x", "n": ' + b"9" * 5000 + b"}",
    ],
    ids=["empty", "http", "ssh", "list", "number", "untyped", "wrong type", "binary", "deep", "long number"],
)
def test_what_strangers_send_is_not_ours(line):
    with pytest.raises(NotOurs):
        decode(line)


def test_a_hello_says_who_comes_and_how_many_it_expects():
    assert hello(1, 2, "beta", "llama2_7b") == {
        "type": "hello",
        "protocol": VERSION,
        "node_rank": 1,
        "nnodes": 2,
        "hostname": "beta",
        "run": "llama2_7b",
    }


@given(plain)
def test_an_entry_is_text_or_the_message_is_not_ours(value):
    try:
        assert text_of({"type": "x", "stage": value}, "stage") is value
    except NotOurs:
        assert not isinstance(value, str)


@given(st.dictionaries(st.sampled_from(["node_rank", "nnodes", "hostname", "run", "nonce"]), plain))
def test_a_hello_of_wrong_types_is_none(changes):
    right = {"node_rank": int, "nnodes": int, "hostname": str, "run": str, "nonce": str}
    fits = all(type(value) is right[name] for name, value in changes.items())
    assert is_hello(hello(1, 2, "beta") | changes) == fits
