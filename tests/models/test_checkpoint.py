"""Killed and resumed: the same losses and parameters to the last bit, or a refusal that says why."""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.torch, pytest.mark.beside]

RUN = "--preset tiny --steps 30 --warmup 5 --seq 64 --save-every 5"
STEPS = 35


@pytest.fixture(scope="module")
def uninterrupted(shared_cards):
    """Two ranks from the first to the last step, with checkpoints."""
    folder = shared_cards.stage("llama2_7b", "whole")
    (outcome,) = shared_cards.run(folder, args=f"{RUN} --checkpoint {folder}/kept", nproc=2)
    assert outcome.code == 0, outcome.stderr
    return outcome


def parameters(outcome) -> str:
    """The hash of the final parameters, as the run prints it."""
    (found,) = re.findall(r"^parameters: (\w+)$", outcome.stdout, re.MULTILINE)
    return found


def gradient_norms(outcome) -> list[str]:
    return [line.split(",")[3] for line in (outcome.folder / "steps.csv").read_text().splitlines()]


def kill_after_a_checkpoint(process, directory: Path) -> None:
    """SIGKILL for the launcher and all its ranks as soon as a checkpoint is published."""
    end = time.monotonic() + 60
    while not (directory / "latest").exists():
        assert process.poll() is None and time.monotonic() < end, "no checkpoint was published"
        time.sleep(0.02)
    launcher = psutil.Process(process.pid)
    killed = [launcher, *launcher.children(recursive=True)]
    for one in killed:
        one.kill()
    psutil.wait_procs(killed, timeout=60)
    process.wait(60)


@pytest.mark.long
def test_a_run_that_is_killed_in_the_middle_resumes_to_the_last_bit(cards, uninterrupted):
    folder, kept = cards.stage("llama2_7b", "killed"), cards.tmp / "kept"
    args = f"{RUN} --checkpoint {kept}"
    port = cards.free_port()
    runner = f"torchrun --nproc_per_node 2 --master_addr 127.0.0.1 --master_port {port}"
    process = cards.start(folder, ["bash", "run.sh", *args.split()], {"MULTI_NODE_RUNNER": runner})
    kill_after_a_checkpoint(process, kept)
    assert not (folder / "steps.csv").exists(), "the run ended before it was killed"
    (resumed,) = cards.run(cards.stage("llama2_7b", "resumed"), args=f"{args} --resume", nproc=2)
    assert resumed.code == 0, resumed.stderr
    (step,) = re.findall(r"^resumed step (\d+) from ", resumed.stdout, re.MULTILINE)
    assert 5 <= int(step) <= 20, "too late to leave a warm-up and a window"
    assert len(resumed.losses) == STEPS
    assert resumed.losses == uninterrupted.losses
    assert gradient_norms(resumed) == gradient_norms(uninterrupted)
    assert parameters(resumed) == parameters(uninterrupted)


@pytest.mark.long
def test_a_resumed_run_warms_up_anew_and_measures_only_its_own_steps(cards, uninterrupted):
    kept = cards.tmp / "kept"
    shutil.copytree(uninterrupted.folder / "kept", kept)
    shutil.rmtree(kept / "step-00000035")
    (outcome,) = cards.run(cards.stage("llama2_7b"), args=f"{RUN} --steps 45 --checkpoint {kept} --resume", nproc=2)
    assert outcome.code == 0, outcome.stderr
    rows = [line.split(",") for line in (outcome.folder / "steps.csv").read_text().splitlines()[1:]]
    phases = [row[1] for row in rows]
    assert phases == ["earlier"] * 30 + ["warmup"] * 5 + ["window"] * 15
    assert all((row[4] == "") == (row[1] == "earlier") for row in rows)
    record = json.loads((outcome.folder / "llama2_7b.json").read_text())
    assert record["window"]["resumed_at"] == 30
    assert record["window"]["steps"] == 15
    assert record["metrics"]["checkpoint_s"] > 0
    assert outcome.losses[:STEPS] == uninterrupted.losses


@pytest.mark.long
def test_one_rank_goes_on_where_two_stopped(cards, uninterrupted):
    kept = cards.tmp / "kept"
    shutil.copytree(uninterrupted.folder / "kept", kept)
    shutil.rmtree(kept / "step-00000035")
    args = f"{RUN} --gbs 16 --checkpoint {kept} --resume --steps 40".replace(" --save-every 5", "")
    (outcome,) = cards.run(cards.stage("llama2_7b"), args=args)
    assert outcome.code == 0, outcome.stderr
    assert "random generators of 2 ranks are not resumed on 1" in outcome.stdout
    # bf16 products in another order: near, not equal.
    assert outcome.losses[:STEPS] == pytest.approx(uninterrupted.losses, abs=0.02)
    assert outcome.losses[:30] == uninterrupted.losses[:30]


def refused(cards, kept: Path, args: str) -> str:
    """The message of a run on one rank that is not started."""
    folder = cards.stage("llama2_7b", f"refused{len(list(cards.tmp.iterdir()))}")
    command = [sys.executable, "train.py", *args.split(), "--checkpoint", str(kept)]
    outcome = cards.wait(cards.start(folder, command, {}), folder)
    assert outcome.code == 2
    assert outcome.metrics == {}
    (message,) = [line for line in outcome.stderr.splitlines() if line.startswith("REFUSED")]
    return message


@pytest.mark.long
def test_what_does_not_belong_together_is_refused_by_name(cards, uninterrupted):
    kept = uninterrupted.folder / "kept"
    said = refused(cards, kept, f"{RUN} --gbs 32 --lr 0.5 --resume")
    assert said.endswith("is of another run: global batch was 16, is 32; lr was 0.001, is 0.5")
    assert "holds checkpoints of an earlier run, the newest of step 35" in refused(cards, kept, f"{RUN} --gbs 16")
    assert "nothing is left to do; give a larger --steps" in refused(cards, kept, f"{RUN} --gbs 16 --resume")
    assert "holds no checkpoint; --resume auto would start" in refused(cards, cards.tmp / "new", f"{RUN} --resume")


def test_a_checkpoint_whose_bytes_were_changed_is_never_resumed(cards, uninterrupted):
    kept = cards.tmp / "kept"
    shutil.copytree(uninterrupted.folder / "kept", kept)
    shutil.rmtree(kept / "step-00000035")
    shard = kept / "step-00000030" / "__0_0.distcp"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    said = refused(cards, kept, f"{RUN} --gbs 16 --resume")
    assert re.search("is torn: 1 (parameters|optimizer states) are not what was saved|cannot be read", said)


def test_two_runs_cannot_write_to_one_folder(load, tmp_path):
    checkpoint = load("checkpoint")
    held = checkpoint.lock_folder(tmp_path)
    with pytest.raises(load("saved").CheckpointError, match="another run is using it"):
        checkpoint.lock_folder(tmp_path)
    held.close()
    checkpoint.lock_folder(tmp_path).close()
