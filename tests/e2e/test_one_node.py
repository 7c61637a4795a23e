"""`madrun run` on one node, as a user types it, in containers and on the host."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.beside]

MEASURED = 'echo "performance: 007.50 speed"\n'


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "results/perf.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_measured_run_is_a_success_with_its_number_to_the_letter(repository: Any, runtime: str) -> None:
    repository.add("measured", MEASURED, tags=["quick"], metrics={"speed": {"unit": "x/s", "primary": True}})
    done = repository.run("run", "--tags", "quick", "--runtime", runtime)
    assert done.returncode == 0, done.stderr
    assert "SUCCESS measured" in done.stdout
    assert "performance: 007.50 speed" in done.stdout  # the script's own output is live on stdout
    (row,) = rows(repository.folder)
    assert (row["performance"], row["metric"], row["unit"], row["status"]) == ("007.50", "speed", "x/s", "SUCCESS")
    assert row["runtime"] == runtime
    report = repository.run("report")
    assert "007.50" in report.stdout
    assert rows(repository.folder)[0]["performance"] == "007.50"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo last words; exit 3\n", ["exit code 3", "last words"]),
        ("echo nothing to see\n", ["nothing was measured"]),
        ("echo performance: nan speed\n", ["speed is nan"]),
        ("echo performance: 5 another\n", ["declared metrics are missing: speed"]),
        ("echo performance: 50 speed\n", ["outside its declared bounds"]),
        ("sleep 600\n", ["--timeout"]),
    ],
)
def test_what_was_not_measured_is_never_a_success(repository: Any, runtime: str, script: str, words: list[str]) -> None:
    limit = "2s" if "sleep" in script else "10m"
    repository.add("card", script, metrics={"speed": {"max": 10}}, timeout=limit)
    done = repository.run("run", "--tags", "card", "--runtime", runtime)
    assert done.returncode == 3
    assert "FAILURE card" in done.stdout
    for word in words:
        assert word in done.stdout
    assert "again: " in done.stdout
    assert ("console.log" in done.stdout) == ("echo" in script)  # a log that holds nothing is not pointed at
    assert "log: " in done.stdout
    (row,) = rows(repository.folder)
    assert (row["status"], row["performance"]) == ("FAILURE", "")


def test_a_csv_of_several_results_becomes_rows_and_a_stale_one_does_not_count(repository: Any, runtime: str) -> None:
    lines = ["model,performance,metric,batch", "007,1.50,speed,08", "008,2.50,speed,16"]
    script = f'if [ -n "${{WRITE-}}" ]; then printf "%s\\n" {" ".join(lines)} > out.csv; fi\n'
    repository.add("several", script, multiple_results="out.csv")
    (repository.folder / "models/several/out.csv").write_text("\n".join(["model,performance,metric", "old,9,speed"]))
    stale = repository.run("run", "--tags", "several", "--runtime", runtime)
    assert stale.returncode == 3
    assert "lay in the card's folder" in stale.stdout
    context = "{'docker_env_vars': {'WRITE': '1'}}"
    fresh = repository.run("run", "--tags", "several", "--runtime", runtime, "-c", context)
    assert fresh.returncode == 0, fresh.stdout
    kept = [row for row in rows(repository.folder) if row["status"] == "SUCCESS"]
    assert [(row["model"], row["performance"], row["batch"]) for row in kept] == [
        ("several_007", "1.50", "08"),
        ("several_008", "2.50", "16"),
    ]


def test_arguments_reach_the_script_byte_for_byte(repository: Any, runtime: str) -> None:
    repository.add("args", 'printf "<%s>" "$@" > got.txt\n' + MEASURED, args="'a b' \"$HOME\" ä;")
    done = repository.run("run", "--tags", "args:batch_size=512:flag", "--runtime", runtime)
    assert done.returncode in (0, 3)
    (got,) = repository.folder.glob("results/runs/*/node-0/output/got.txt")
    assert got.read_text().startswith("<a b><")
    assert "<ä>" in got.read_text()


def test_a_python_script_needs_no_bash_layer(repository: Any, runtime: str) -> None:
    repository.add("snake", "", script="main.py", runner="plain")
    main = repository.folder / "models/snake/main.py"
    main.write_text("import os, sys\nprint('performance:', sys.argv[1], 'speed')\nassert os.environ['RANK'] == '0'\n")
    done = repository.run("run", "--tags", "snake", "--runtime", runtime, "-c", "{'model_args': '4.5'}")
    assert done.returncode == 0, done.stdout
    assert rows(repository.folder)[0]["performance"] == "4.5"


def test_the_runner_text_survives_expansion_and_eval(repository: Any, runtime: str) -> None:
    script = """
    torchrun() { printf '%s ' "$@" >> "$OUT"; echo >> "$OUT"; }
    OUT=words.txt
    $MULTI_NODE_RUNNER a.py
    eval "$MAD_MULTI_NODE_RUNNER a.py"
    """
    repository.add("runner", script + MEASURED)
    assert repository.run("run", "--tags", "runner", "--runtime", runtime).returncode == 0
    (words,) = repository.folder.glob("results/runs/*/node-0/output/words.txt")
    first, second = words.read_text().splitlines()
    assert first == second
    assert "--node_rank 0" in first
    assert first.endswith("a.py ")


def test_secrets_reach_the_script_and_no_file(repository: Any, runtime: str) -> None:
    secret = "s3cr3t-0123456789"
    repository.add("secret", 'echo "token has ${#HF_TOKEN} letters: $HF_TOKEN"\n' + MEASURED)
    context = str({"docker_env_vars": {"HF_TOKEN": secret}})
    done = repository.run("run", "--tags", "secret", "--runtime", runtime, "-c", context)
    assert done.returncode == 0, done.stdout
    assert f"token has {len(secret)} letters: ***" in done.stdout
    files = [path for path in repository.folder.glob("results/**/*") if path.is_file()]
    assert len(files) > 5
    assert not [path for path in files if secret.encode() in path.read_bytes()]


def test_several_cards_give_the_worst_exit_code_and_a_row_each(repository: Any, runtime: str) -> None:
    repository.add("good", MEASURED, tags=["both"])
    repository.add("bad", "exit 7\n", tags=["both"])
    done = repository.run("run", "--tags", "both", "--runtime", runtime)
    assert done.returncode == 3
    assert {row["model"]: row["status"] for row in rows(repository.folder)} == {"good": "SUCCESS", "bad": "FAILURE"}
    assert "--tags bad" in done.stdout  # the command that repeats the failed card alone


def test_data_is_mounted_and_a_mirror_is_filled_once(repository: Any, runtime: str, tmp_path: Path) -> None:
    repository.add("reader", 'echo "performance: $(cat "$MAD_DATAHOME/number") speed"\n', data="numbers")
    source = repository.folder / "numbers"
    source.mkdir()
    (source / "number").write_text("42")
    (repository.folder / "data.json").write_text(json.dumps({"numbers": {"local": {"path": "numbers"}}}))
    mirror = tmp_path / "mirror"
    missing = repository.run("run", "--tags", "reader", "--runtime", runtime, "--force-mirror-local", str(mirror))
    assert missing.returncode == 2
    assert str(mirror) in missing.stderr
    assert not mirror.exists()
    mirror.mkdir()
    words = ("run", "--tags", "reader", "--runtime", runtime, "--force-mirror-local", str(mirror))
    assert repository.run(*words).returncode == 0
    assert (mirror / "numbers/number").read_text() == "42"
    assert sorted(path.name for path in mirror.iterdir()) == [".numbers.manifest.json", "numbers"]
    (mirror / "numbers/number").write_text("43")
    again = repository.run(*words)
    assert "performance: 43 speed" in again.stdout


def test_timings_say_where_the_time_went(repository: Any, runtime: str) -> None:
    repository.add("card", "sleep 0.5\n" + MEASURED)
    done = repository.run("run", "--tags", "card", "--runtime", runtime, "--timings")
    lines = done.stdout[done.stdout.index("timings:") :].splitlines()
    seconds = {line.split()[0]: float(line.split()[1]) for line in lines[1:]}
    assert seconds["script"] >= 0.5
    assert seconds["total"] >= seconds["script"]
