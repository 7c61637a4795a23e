"""What travels between nodes: frames survive, and nothing that a stranger sends is taken for a name or a frame."""

import json
import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.node.delivery.parcel import (
    HEAD,
    KINDS,
    PACKED,
    RAW,
    Garbled,
    Item,
    header,
    line_of,
    pack,
    parse_head,
    parse_header,
    parse_line,
    unpack,
)

words = st.text(st.characters(blacklist_characters="/\0", blacklist_categories=["Cs"]), min_size=1, max_size=20)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


@given(st.binary(max_size=5000) | st.integers(1, RAW).map(lambda size: b"ab" * (size // 2)))
def test_a_frame_comes_out_as_it_went_in(chunk):
    frame = pack(chunk)
    form, length = parse_head(frame[: HEAD.size])
    body = frame[HEAD.size :]
    assert length == len(body)
    assert length or not chunk
    if chunk:
        assert unpack(form, body) == chunk


@given(st.binary(min_size=HEAD.size, max_size=HEAD.size), st.binary(max_size=300))
def test_strange_frames_are_refused_or_small(head, body):
    try:
        form, length = parse_head(head)
    except Garbled:
        return
    assert length <= RAW + 1024
    with suppress(Garbled):
        assert len(unpack(form, body)) <= max(RAW, len(body))


def test_a_frame_that_grows_beyond_all_bounds_is_refused():
    bomb = zlib.compress(b"\0" * (RAW + 1), 9)
    with pytest.raises(Garbled, match="another length"):
        unpack(PACKED, bomb)


@given(st.lists(words, min_size=1, max_size=5), st.sampled_from(KINDS), st.integers(0, 1 << 50))
def test_a_header_names_a_place_below_its_directory_or_is_refused(parts, kind, size):
    item = Item("/".join(parts), kind, size if kind == "file" else 0, 0o644, "x" if kind == "link" else "")
    try:
        found = parse_header(parse_line(header(item)))
    except Garbled:
        assert any(part in (".", "..") for part in parts) or parts[0].startswith(".") or len(parts[0].encode()) > 50
        return
    assert found == item
    assert all(word not in ("", ".", "..") for word in found.words)


@given(st.fixed_dictionaries({}, optional={name: anything for name in ("name", "kind", "size", "mode", "link")}))
def test_no_header_of_any_kind_breaks_the_reader(message):
    try:
        item = parse_header(message)
    except Garbled:
        return
    assert item.kind in KINDS


@given(st.binary(max_size=200))
def test_no_line_breaks_the_reader(line):
    with suppress(Garbled):
        assert isinstance(parse_line(line), dict)


@pytest.mark.parametrize(
    "name",
    [
        "../../x",
        "/etc/passwd",
        "a/../../x",
        "a//b",
        "",
        ".",
        "..",
        "./a",
        "a/.",
        "a\0b",
        ".hidden",
        "x" * 256,
        "a/" * 40,
    ],
)
def test_names_that_lead_elsewhere_are_refused(name):
    with pytest.raises(Garbled):
        parse_header(parse_line(line_of({"name": name, "kind": "file", "size": 1, "mode": 0o644, "link": ""})))


def test_the_longest_name_and_link_still_fit_a_line():
    odd = b"\xff".decode("utf-8", "surrogateescape")
    item = Item("/".join([odd * 230] * 13), "link", 0, 0o600, odd * 4096)
    assert parse_header(parse_line(header(item))) == item


def test_names_that_are_no_text_survive():
    item = Item(
        b"caf\xe9".decode("utf-8", "surrogateescape"), "link", 0, 0o600, b"\xff".decode("utf-8", "surrogateescape")
    )
    assert parse_header(parse_line(header(item))) == item
    assert json.loads(header(item))["name"] == item.name
