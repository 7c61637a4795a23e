"""What a pod does around its node's script: by the very files that it is given, under this python."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from madrun.backends.kubernetes import pod
from madrun.backends.kubernetes.home import Sieve, bring_home
from madrun.backends.kubernetes.names import names_of
from madrun.backends.kubernetes.payload import Payload, payload_of, pod_files
from madrun.backends.kubernetes.settings import read

pytestmark = pytest.mark.slow
BEGUN = '{"event": "begin", "launch": "20261121T000000Z-one-a1b2c3"}\n'


@pytest.fixture
def place(launch, tmp_path):
    """Lays out a pod's folders; returns a function that starts it."""

    def make(script, archives=None, rank=0, settings=None, private="export MADRUN_SECRET=s\n", **env):
        found = launch(backend="kubernetes")
        chosen = read(settings or {}, 2)[0]
        payload = Payload(archives or {}, {"commit": "abc", "dirty": True})
        folder = tmp_path / "launch"
        folder.mkdir()
        files = pod_files(found, chosen, names_of(found.id, 2, False), payload)
        told = json.loads(files["pod.json"]) | {"payload": str(tmp_path / "payload")}
        (tmp_path / "payload").mkdir()
        for _, name, data in payload.pieces():
            (tmp_path / "payload" / name).write_bytes(data)
        for name, text in {**files, "pod.json": json.dumps(told), "node.sh": script}.items():
            (folder / name).write_text(text)
        (folder / "private.env").write_text(private)
        work = tmp_path / "work"
        work.mkdir()
        given = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "MADRUN_PROGRAM": str(work / "program"),
            "MADRUN_REPOSITORY": str(work / "repository"),
            "MADRUN_RESULTS": str(work / "results"),
            "JOB_COMPLETION_INDEX": str(rank),
        }
        words = ["/bin/sh", str(folder / "start.sh")]
        out = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(words, env={**given, **env}, **out)

    return make


def test_what_is_carried_is_unpacked_and_the_script_runs_with_it(place, launch, tmp_path):
    root = tmp_path / "repository"
    (root / "models").mkdir(parents=True)
    (root / "models" / "run.sh").write_text("echo run\n")
    (root / "private.env").write_text("export TOKEN=leak\n")
    (root / "link").symlink_to("/nonexistent/data")
    found = launch(backend="kubernetes", repository=str(root), results=str(root / "results"), folder=str(root / "l"))
    archives = dict(payload_of(found, read({"madrun": "installed"}, 2)[0]).archives)
    made = tmp_path / "madrun.zip"
    with zipfile.ZipFile(made, "w") as archive:
        entry = zipfile.ZipInfo("bin/madrun")
        entry.external_attr = 0o755 << 16
        archive.writestr(entry, '#!/bin/sh\necho "madrun: $*"\n')
    archives["madrun"] = made.read_bytes()
    script = 'cd "$MADRUN_REPOSITORY"; sh models/run.sh; ls; cat ../madrun-origin.json; "$MADRUN_PROGRAM" run --tags x'
    done = place(script, archives, rank=1, settings={"secrets": {"HF_TOKEN": "hf/token"}})
    out, err = done.communicate(timeout=60)
    assert done.returncode == 0, err
    text = out.decode()
    assert text == 'run\nlink\nmodels\n{"commit": "abc", "dirty": true}madrun: run --tags x --env HF_TOKEN\n'


def test_node_0_sends_the_runs_of_its_launch_and_the_code_of_its_script_is_kept(place, tmp_path):
    script = f"""mkdir -p "$MADRUN_RESULTS"/runs/one/node-0 "$MADRUN_RESULTS"/runs/other
echo '{BEGUN.strip()}' > "$MADRUN_RESULTS"/runs/one/journal.jsonl
echo '{{"event": "begin"}}' > "$MADRUN_RESULTS"/runs/other/journal.jsonl
echo log > "$MADRUN_RESULTS"/runs/one/node-0/console.log
printf 'no end of line'; exit 3"""
    done = place(script)
    out, _ = done.communicate(timeout=60)
    assert done.returncode == 3
    shown = []
    sieve = Sieve("@madrun:m20261121t000000z-one-a1b2c3", shown.append)
    for line in out.splitlines(keepends=True):
        sieve.take(line)
    assert shown == [b"no end of line\n"]
    assert bring_home(sieve.archive, tmp_path / "home") == ("one",)
    assert (tmp_path / "home" / "runs" / "one" / "node-0" / "console.log").read_text() == "log\n"


def test_other_nodes_send_nothing(place):
    out, _ = place("echo hello", rank=1).communicate(timeout=60)
    assert out == b"hello\n"


def test_a_signal_reaches_the_script_and_its_code_is_the_pods(place):
    started = place("trap 'echo told; exit 130' TERM; echo begun; while :; do sleep 0.05; done", rank=1)
    assert started.stdout.readline() == b"begun\n"
    started.send_signal(signal.SIGTERM)
    out, _ = started.communicate(timeout=60)
    assert (started.returncode, out) == (130, b"told\n")


def test_standard_error_is_marked_line_by_line(place):
    out, err = place("echo out; echo err >&2; printf end >&2", rank=1).communicate(timeout=60)
    assert (out, err) == (b"out\n", b"\x0eerr\n\x0eend")


def test_a_script_that_a_signal_ends_gives_the_code_of_a_shell(place):
    ended = place("kill -9 $$", rank=1)
    ended.communicate(timeout=60)
    assert ended.returncode == 137


def test_a_piece_that_was_changed_on_the_way_is_refused(place, tmp_path, monkeypatch):
    real = hashlib.sha256
    monkeypatch.setattr(hashlib, "sha256", lambda data=b"": real(data + b"!"))
    done = place("echo never", {"madrun": b"zip"})
    monkeypatch.undo()
    out, err = done.communicate(timeout=60)
    assert done.returncode == 2 and out == b""
    assert b"madrun: error: the pod could not be made ready: madrun came with SHA-256" in err


def test_an_image_without_python_says_so(place):
    done = place("echo never", PATH="/nonexistent")
    out, err = done.communicate(timeout=60)
    assert done.returncode == 2 and b"madrun: error: this image has no python3" in err and out == b""


def test_the_largest_files_are_left_out_and_records_are_the_last_to_go(tmp_path):
    run = tmp_path / "runs" / "one"
    (run / "node-0").mkdir(parents=True)
    (run / "journal.jsonl").write_text(BEGUN)
    (run / "record.json").write_bytes(os.urandom(4000))
    (run / "node-0" / "small.log").write_text("x" * 100)
    (run / "node-0" / "large.bin").write_bytes(os.urandom(200_000))
    packed, left_out = pod.pack(tmp_path, "20261121T000000Z-one-a1b2c3", 50_000)
    assert left_out == ["runs/one/node-0/large.bin"] and len(packed) <= 50_000
    _, left_out = pod.pack(tmp_path, "20261121T000000Z-one-a1b2c3", 3000)
    assert left_out == ["runs/one/node-0/large.bin", "runs/one/node-0/small.log", "runs/one/record.json"]


def test_of_very_many_files_that_are_left_out_some_are_named_and_the_rest_counted(tmp_path):
    run = tmp_path / "runs" / "one"
    run.mkdir(parents=True)
    (run / "journal.jsonl").write_text(BEGUN)
    for number in range(60):
        (run / f"{number:02d}.bin").write_bytes(os.urandom(400))
    out = io.StringIO()
    pod.send(tmp_path, {"launch": "20261121T000000Z-one-a1b2c3", "limit": 500, "marker": "@m:x"}, out)
    named = json.loads(out.getvalue().splitlines()[-1].removeprefix("@m:x end "))
    assert len(named) == 51 and named[-1] == "10 more"


def test_a_file_that_cannot_be_read_keeps_no_other_from_coming_home(tmp_path, monkeypatch):
    run = tmp_path / "runs" / "one"
    run.mkdir(parents=True)
    (run / "journal.jsonl").write_text(BEGUN)
    (run / "gone.log").write_text("x")
    real = pod.packed_size
    monkeypatch.setattr(
        pod, "packed_size", lambda path, enough: (path.name == "gone.log" and path.unlink(), real(path, enough))[1]
    )
    packed, left_out = pod.pack(tmp_path, "20261121T000000Z-one-a1b2c3", 5000)
    assert left_out == ["runs/one/gone.log"] and bring_home(packed, tmp_path / "home") == ("one",)
