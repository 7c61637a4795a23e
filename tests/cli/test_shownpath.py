"""Where a reader of a node's output finds the files that it names."""

from __future__ import annotations

from pathlib import Path

import pytest

from madrun.cli.shownpath import shown_path
from madrun.spec.launch import RESULTS, SHOWN


@pytest.mark.parametrize(
    ("there", "shown"),
    [("results", "results/runs/one"), ("../elsewhere", "../elsewhere/runs/one"), ("", "../kept/runs/one")],
)
def test_a_path_of_results_that_are_brought_elsewhere_is_shown_as_it_will_be_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, there: str, shown: str
) -> None:
    (tmp_path / "repository").mkdir()
    monkeypatch.chdir(tmp_path / "repository")
    monkeypatch.setenv(RESULTS, str(tmp_path / "kept"))
    monkeypatch.setenv(SHOWN, there)
    assert shown_path(tmp_path / "kept/runs/one") == shown
    assert shown_path(tmp_path / "other") == "../other"


def test_without_a_launch_a_path_counts_from_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(RESULTS, raising=False)
    monkeypatch.setenv(SHOWN, "results")
    monkeypatch.chdir(tmp_path)
    assert shown_path(tmp_path / "results/runs/one") == "results/runs/one"
