"""Untyped data becomes a frozen dataclass, or a list of problems that name key, found and allowed."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import pytest

from madrun.spec.card import Metric
from madrun.spec.context import Context
from madrun.spec.validation import Invalid, did_you_mean, nearest, validate


@dataclass(frozen=True, kw_only=True)
class Place:
    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid"}

    name: str
    count: int = 0
    ratio: float = 0.0
    kind: Literal["a", "b"] = "a"
    tags: tuple[str, ...] = ()
    metrics: dict[str, Metric] = field(default_factory=dict)


def problems(data, *, target=Place, strict=True):
    with pytest.raises(Invalid) as caught:
        validate(target, data, strict=strict)
    return {problem.key: problem.text for problem in caught.value.problems}


def test_good_data_becomes_the_dataclass():
    made = validate(Place, {"name": "x", "tags": ["t"], "metrics": {"tok": {"unit": "s"}}}, strict=True)
    assert made == Place(name="x", tags=("t",), metrics={"tok": Metric(unit="s")})


def test_an_unknown_key_is_named_with_the_nearest_known_one_and_all_allowed():
    found = problems({"name": "x", "conut": 1})
    assert "unknown key" in found["conut"]
    assert "did you mean 'count'?" in found["conut"]
    assert "name, count, ratio" in found["conut"]


def test_an_unknown_key_inside_a_map_of_dataclasses_is_checked_against_their_fields():
    found = problems({"name": "x", "metrics": {"tok": {"units": "s"}}})
    assert "did you mean 'unit'?" in found["metrics.tok.units"]
    assert "higher_is_better" in found["metrics.tok.units"]


def test_a_missing_key_is_named():
    assert problems({}) == {"name": "is missing and has no default"}


def test_strict_data_refuses_text_for_a_number_and_says_both():
    found = problems({"name": "x", "count": "3"})
    assert "'3' (str)" in found["count"]
    assert "a whole number" in found["count"]


def test_lax_data_takes_text_for_a_number():
    assert validate(Place, {"name": "x", "count": "3"}, strict=False).count == 3


def test_a_choice_names_what_is_allowed():
    text = problems({"name": "x", "kind": "c"})["kind"]
    assert "'c'" in text
    assert "'a' or 'b'" in text


def test_a_bound_is_named():
    found = problems({"multi_node_args": {"NNODES": 0, "MASTER_PORT": 70000}}, target=Context, strict=False)
    assert "found 0" in found["multi_node_args.NNODES"]
    assert ">= 1" in found["multi_node_args.NNODES"]
    assert "<= 65535" in found["multi_node_args.MASTER_PORT"]


def test_all_problems_are_reported_not_only_the_first():
    assert set(problems({"count": "x", "tags": "y", "ratio": []})) == {"name", "count", "tags", "ratio"}


def test_a_long_value_is_cut_in_the_message():
    text = problems({"name": "x", "count": "y" * 500})["count"]
    assert "..." in text
    assert len(text) < 200


def test_a_value_that_is_not_json_counts_as_text():
    import datetime

    assert validate(Place, {"name": datetime.date(2026, 11, 21)}, strict=True).name == "2026-11-21"


def test_nearest_ignores_case_and_keeps_the_best_first():
    assert nearest("nccl_SOCKET_ifname", ["GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME", "x"])[0] == "NCCL_SOCKET_IFNAME"


def test_nothing_is_suggested_where_nothing_is_near():
    assert did_you_mean("zzz", ["alpha", "beta"]) == ""


def test_words_that_share_a_few_letters_are_not_near():
    assert did_you_mean("mpirun", ["plain", "torchrun"]) == ""
    assert did_you_mean("torchrum", ["plain", "torchrun"]) == " (did you mean 'torchrun'?)"
