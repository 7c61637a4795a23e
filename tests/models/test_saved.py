"""The files around a checkpoint: nothing torn is ever taken for whole."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


@pytest.fixture
def saved(load):
    return load("saved")


def write(saved, directory: Path, step: int, keep: int = 9) -> Path:
    """A whole checkpoint of one file, published."""
    folder = directory / f".step-{step:08d}.part"
    folder.mkdir(parents=True)
    (folder / "__0_0.distcp").write_bytes(b"x" * 100)
    meta = saved.Meta(
        format=saved.FORMAT,
        settings={"preset": "tiny"},
        world={"ranks": 2},
        progress=saved.Progress(step=step, samples=8 * step, losses=[0.1 + 0.2, 1e-300], ledger=(1, 2, 2**64 - 1)),
        parameters=[1, -(2**70)],
        states=[],
        rng=[{"cpu": "AAAA"}],
        files=saved.file_sizes(folder),
        torch="2.13.0",
    )
    saved.write_meta(folder, meta)
    return saved.publish(folder, step, keep)


def test_what_is_written_is_read_back_to_the_last_bit(saved, tmp_path):
    folder = write(saved, tmp_path, 20)
    meta = saved.read_meta(folder)
    assert folder.name == "step-00000020"
    assert meta.progress.losses == [0.1 + 0.2, 1e-300]
    assert meta.progress.ledger == (1, 2, 2**64 - 1)
    assert meta.parameters == [1, -(2**70)]
    assert (tmp_path / "latest").read_text() == "step-00000020\n"


def test_the_newest_whole_checkpoint_is_taken_and_the_torn_one_named(saved, tmp_path):
    write(saved, tmp_path, 10)
    torn = write(saved, tmp_path, 20)
    (torn / "__0_0.distcp").write_bytes(b"x" * 99)
    folder, meta, skipped = saved.newest(tmp_path)
    assert (folder.name, meta.progress.step) == ("step-00000010", 10)
    assert skipped == [f"{torn} is torn: __0_0.distcp has 99 bytes, 100 bytes were written"]


def test_a_folder_that_was_never_published_does_not_exist(saved, tmp_path):
    write(saved, tmp_path, 10)
    (tmp_path / ".step-00000020.part").mkdir()
    assert saved.newest(tmp_path)[0].name == "step-00000010"


def test_no_checkpoint_and_no_whole_checkpoint_are_different_things(saved, tmp_path):
    assert saved.newest(tmp_path) is None
    (write(saved, tmp_path, 10) / "__0_0.distcp").unlink()
    with pytest.raises(saved.CheckpointError, match=r"no checkpoint is whole: .*__0_0.distcp is missing, 100 bytes"):
        saved.newest(tmp_path)


def test_only_the_newest_are_kept_and_a_step_that_is_saved_again_replaces_the_old(saved, tmp_path):
    for step in (10, 20, 30, 30):
        write(saved, tmp_path, step, keep=2)
    assert [path.name for path in saved.checkpoints(tmp_path)] == ["step-00000030", "step-00000020"]


def test_another_format_is_refused_by_its_number(saved, tmp_path):
    folder = write(saved, tmp_path, 10)
    content = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps(content | {"format": 99}))
    with pytest.raises(saved.CheckpointError, match="has format 99; this version reads format 1"):
        saved.read_meta(folder)


@pytest.mark.slow
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 400), junk=st.binary(max_size=20))
def test_a_damaged_meta_is_refused_or_is_the_same(saved, tmp_path_factory, cut, junk):
    directory = tmp_path_factory.mktemp("damaged")
    folder = write(saved, directory, 10)
    whole = saved.read_meta(folder)
    text = (folder / "meta.json").read_bytes()
    (folder / "meta.json").write_bytes(text[:cut] + junk)
    try:
        assert saved.read_meta(folder) == whole
    except saved.CheckpointError as error:
        assert "is torn" in str(error)


def test_differences_name_each_setting_with_both_values(saved):
    then, now = {"lr": 0.1, "seq": 64, "gone": 1}, {"lr": 0.2, "seq": 64, "new": "x"}
    assert saved.differences(then, now) == ["gone was 1, is None", "lr was 0.1, is 0.2", "new was None, is 'x'"]
    assert saved.differences(then, dict(then)) == []


def test_progress_has_no_field_that_a_meta_would_lose(saved, tmp_path):
    full = saved.Progress(
        step=3, samples=4, losses=[1.5], grad_norms=[2.5], probe_before=6.0, changed=15, ledger=(7, 8, 9)
    )
    assert saved.Progress(**json.loads(json.dumps(dataclasses.asdict(full)), object_hook=ledger_as_tuple)) == full


def ledger_as_tuple(found: dict[str, object]) -> dict[str, object]:
    return found | {"ledger": tuple(found["ledger"])}
