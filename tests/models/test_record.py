"""The JSON record of a run: whole, without secrets, without NaN."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.torch


@pytest.fixture
def record(load):
    pytest.importorskip("torch")
    return load("record")


def test_numbers_that_are_not_finite_become_null(record, tmp_path):
    path = tmp_path / "r.json"
    record.write_json(path, {"a": float("nan"), "b": [float("inf"), 1.5, None], "c": {"d": -float("inf"), "e": True}})
    assert json.loads(path.read_text()) == {"a": None, "b": [None, 1.5, None], "c": {"d": None, "e": True}}
    assert [entry.name for entry in tmp_path.iterdir()] == ["r.json"]


def test_the_environment_holds_what_steers_libraries_and_no_secret(record):
    import torch

    env = {"NCCL_DEBUG": "INFO", "HF_TOKEN": "t", "NCCL_SECRET_KEY": "s", "HOME": "/root", "TORCH_LOGS": "+inductor"}
    found = record.describe_environment(torch.device("cpu"), env)
    assert found["env"] == {"NCCL_DEBUG": "INFO", "TORCH_LOGS": "+inductor"}
    assert found["torch"] == torch.__version__
    assert found["device"] == "cpu"


def test_a_failed_check_is_a_reason(record, load):
    check = load("measure").Check
    good, bad = check("a", True, "1", "1"), check("b", False, "2", "3")
    assert record.judge([good]) == {"status": "VALID", "invalid_reason": []}
    assert record.judge([good, bad]) == {"status": "INVALID", "invalid_reason": ["b: found 2, expected 3"]}
