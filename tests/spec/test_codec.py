"""Frozen data goes to JSON and back without loss; equal data has one hash."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.spec.card import Metric
from madrun.spec.codec import canonical, from_plain, sha256, to_json, to_plain
from madrun.spec.record import Record, Sample
from madrun.spec.validation import Invalid

texts = st.text(st.characters(blacklist_categories=("Cs",)), max_size=20)


@given(texts, texts, st.dictionaries(texts, texts, max_size=3), st.floats(allow_nan=False))
def test_a_sample_survives_json(metric, text, extra, value):
    sample = Sample(node=1, metric=metric, value=value, text=text, source="console.log:1", extra=extra)
    assert from_plain(Sample, json.loads(to_json(sample))) == sample


def test_a_record_survives_json(make_record):
    record = make_record()
    assert from_plain(Record, json.loads(to_json(record))) == record


def test_a_record_of_another_shape_is_invalid(make_record):
    plain = to_plain(make_record()) | {"status": "GREEN"}
    with pytest.raises(Invalid, match="status"):
        from_plain(Record, plain)


def test_the_hash_does_not_depend_on_the_order_of_keys():
    assert sha256({"a": 1, "b": 2}) == sha256({"b": 2, "a": 1})
    assert sha256({"a": 1}) != sha256({"a": 2})


def test_canonical_text_has_no_spaces_and_keeps_every_letter():
    assert canonical({"b": ("ü",), "a": Metric(unit="s")}).startswith('{"a":{"across_nodes":"same",')
    assert "ü" in canonical({"b": ("ü",)})


def test_names_of_a_map_become_text():
    assert to_plain({1: (2, None)}) == {"1": [2, None]}
