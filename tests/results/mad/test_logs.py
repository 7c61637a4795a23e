"""The logs of a run by MAD's names."""

import csv
import json

import pytest

from madrun.results.mad.logs import stem_of, write_environment, write_logs


@pytest.mark.parametrize(
    ("card", "dockerfile", "image", "stem"),
    [
        ("a/b", "d.ubuntu.amd.Dockerfile", "madrun/x:1", "a_b_d.ubuntu.amd"),
        ("a", "docker/d.Dockerfile", "", "a_d"),
        ("a", "", "host:5000/rocm/x:1", "a_host_5000_rocm_x_1"),
        ("a", "", "", "a"),
    ],
)
def test_names_hold_card_and_dockerfile(card, dockerfile, image, stem):
    assert stem_of(card, dockerfile, image) == stem


def test_each_log_and_both_joined(tmp_path):
    node = tmp_path / "node-0"
    node.mkdir()
    (node / "build.log").write_text("built\n")
    (node / "console.log").write_text("ran\n")
    write_logs(tmp_path, "x", node, 7200.0)
    assert (tmp_path / "x.build.live.log").read_text() == "built\n"
    assert (tmp_path / "x.run.live.log").read_text() == "⏰ Setting timeout to 7200 seconds.\nran\n"
    assert (tmp_path / "x.live.log").read_text() == "built\n⏰ Setting timeout to 7200 seconds.\nran\n"
    (node / "build.log").unlink()
    write_logs(tmp_path, "x", node, 0)
    assert not (tmp_path / "x.build.live.log").exists()
    assert "built" not in (tmp_path / "x.live.log").read_text()


def test_the_environment_is_a_table_of_names_and_values(tmp_path):
    node = tmp_path / "node-0"
    node.mkdir()
    (node / "host.json").write_text(json.dumps({"kernel": "6.1", "disks": {"x": [1, 2]}, "gpus": [{"arch": "gfx942"}]}))
    (node / "environment.json").write_text('{"NCCL_DEBUG": "INFO"}')
    write_environment(tmp_path, "a/b", node, lite=False)
    with (tmp_path / "a_b_env.csv").open(newline="") as source:
        rows = {row["name"]: row["value"] for row in csv.DictReader(source)}
    assert rows == {
        "host.kernel": "6.1",
        "host.disks.x": "1 2",
        "host.gpus.0.arch": "gfx942",
        "variable.NCCL_DEBUG": "INFO",
    }
    write_environment(tmp_path, "a/b", node, lite=True)
    assert (tmp_path / "a_b_env.csv").read_text() == "name,value\nhost.kernel,6.1\n"
