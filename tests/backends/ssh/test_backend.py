"""A launch by ssh from its folder, as far as it goes without any host."""

import json

import pytest

from madrun.backends.launchfolder import LaunchFolder
from madrun.backends.ssh import backend
from madrun.errors import HostsError


def test_hosts_that_cannot_take_part_are_written_down_by_name(launch, tmp_path, head, monkeypatch):
    def visit(*_):
        raise HostsError("--on ssh: 1 of 2 hosts cannot take part", {"b": "no answer: timed out"})

    monkeypatch.setattr(backend, "visit", visit)
    made = launch(backend="ssh", folder=str(tmp_path / "L"), settings={"hosts": ["a", "b"]})
    folder = LaunchFolder.create(made, {}, {"MADRUN_SECRET": "s"})
    with pytest.raises(HostsError):
        backend.conduct(folder, head, False)
    first, last = [json.loads(line) for line in (folder.path / "journal.jsonl").read_text().splitlines()]
    assert (first["event"], first["hosts"]) == ("bad hosts", {"b": "no answer: timed out"})
    assert (last["event"], last["exit_code"]) == ("ended", 2)
    assert not (folder.path / "private.env").exists()
