"""What a command leaves for the cards of a MAD repository: rows for every card, files, exit codes; nothing silent."""

import csv
import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from own_ports import free_port

from madrun.results.perfcsv import MAD_COLUMNS

pytestmark = [pytest.mark.e2e, pytest.mark.beside]

SCRIPTS = {
    "good": "echo performance: ${SPEED:-100} tok/s\n",
    "fails": "echo performance: 5 tok/s; exit 7\n",
    "empty": "echo nothing; exit 0\n",
    "error": "echo 'RuntimeError: boom'; exit 0\n",
    "both": "echo 'torch.elastic: failed (exitcode: -9) at the end'; echo performance: 5 tok/s\n",
    "odd": "echo 'quota reached'; exit 0\n",
    "hf": "echo \"{'train_samples_per_second': 4.23}\"\n",
    "rows": "printf 'model,performance,metric,tp\\na,5,tok,1\\nb,,tok,1\\nc,6,tok,2\\nc,7,tok,2\\n' > perf_rows.csv\n",
    "stale": "true\n",
    "appends": "f=perf_appends.csv; [ -f $f ] || echo model,performance,metric > $f; echo m,7,tok >> $f\n",
    "constant": "echo 'performance: 1 pass'\n",
}
MORE = {
    "good": {"args": "--config cfg.json", "training_precision": "fp16"},
    "rows": {"multiple_results": "perf_rows.csv"},
    "stale": {"multiple_results": "perf_stale.csv"},
    "appends": {"multiple_results": "perf_appends.csv"},
    "odd": {"log_error_patterns": ["quota reached"]},
    "old": {"is_deprecated": True},
    "nodata": {"data": "nothere"},
}


@pytest.fixture
def mad(madrun, tmp_path):
    """A MAD repository and the command in it; `mad.folder` is where it stands."""
    folder = tmp_path / "mad"
    for name, text in SCRIPTS.items():
        (folder / "scripts" / name).mkdir(parents=True)
        (folder / "scripts" / name / "run.sh").write_text(text)
    (folder / "scripts/good/cfg.json").write_text('{"lr": 1}')
    for name in ("stale", "appends"):  # as a kept checkout has it: the results of last week
        (folder / f"scripts/{name}/perf_{name}.csv").write_text("model,performance,metric\nm,666,tok\n")
    names = [*SCRIPTS, "old", "nodata"]
    common = {"dockerfile": "docker/none", "n_gpus": "-1", "args": "", "tags": ["t"], "owner": "o"}
    cards = [
        {
            "name": name,
            "scripts": f"scripts/{name if name in SCRIPTS else 'good'}/run.sh",
            **common,
            **MORE.get(name, {}),
        }
        for name in names
    ]
    (folder / "models.json").write_text(json.dumps(cards))

    def run(*words, **changes):
        return madrun(*words, cwd=folder, **changes)

    run.folder = folder
    return run


def rows_in(file):
    with file.open(newline="") as source:
        return list(csv.DictReader(source))


def names_in(folder):
    return {path.name for path in folder.iterdir()}


HOST = ("--runtime", "process")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("run", "--tags", "good", *HOST), 0, "SUCCESS good"),
        (("run", "--tags", "good", "old", *HOST), 0, "SKIPPED old"),
        (("run", "--tags", "old", "--ignore-deprecated-flag", *HOST), 0, "SUCCESS old"),
        (("run", "--tags", "good", "--skip-model-run", *HOST), 0, "NOTHING WAS MEASURED: 1 card SKIPPED, as"),
        (("plan", "--tags", "old", *HOST), 0, "run leaves old out: is_deprecated"),
        (("plan", "--tags", "good", "nodata", *HOST), 2, "card      good"),
        (("plan", "--tags", "nodata", *HOST), 2, "madrun: error: "),
        (("run", "--tags", "nosuch", *HOST), 2, "no card or tag 'nosuch'"),
        (("run", "--tags", "nodata", *HOST), 2, "FAILURE nodata"),
        (("run", "--tags", "good", "nodata", *HOST), 2, "SUCCESS good"),
        (("run", "--tags", "good", "-o", "no/such/dir.csv", *HOST), 2, "--output"),
        (("run", "--tags", "good", "-s", "no/such/dir.json", *HOST), 2, "--summary-output"),
        (("report", "to-email", "--directory", "."), 2, "sends no mail"),
        (("run", "--tags", "fails", "nodata", *HOST), 3, "FAILURE fails"),
        (("run", "--tags", "empty", *HOST), 3, "nothing was measured"),
        (("run", "--tags", "old", *HOST), 3, "NOTHING WAS MEASURED: 1 card SKIPPED, so"),
        (("run", "--tags", "empty", *HOST, "-c", "{'skip_perf_collection': True}"), 3, "NOTHING WAS MEASURED"),
        (("run", "--tags", "good", *HOST, "-c", "{'multi_node_args': {'NNODES': 'x'}}"), 4, "NNODES"),
        (("run", "--tags", "good", "nodata", *HOST, "-c", "no literal"), 4, "--additional-context"),
    ],
)
def test_exit_codes(mad, words, code, said):
    done = mad(*words)
    assert done.returncode == code, done.stdout + done.stderr
    assert said in done.stdout + done.stderr


def test_an_internal_trouble_ends_with_1(mad):
    run = mad.folder / "results/runs/20261121T000000Z-x-abcdef-1"
    run.mkdir(parents=True)
    (run / "record.json").write_text("{")
    assert mad("report").returncode == 1


def test_every_selected_card_has_a_row_and_no_silent_failure_stays_silent(mad):
    done = mad("run", "--tags", "all", *HOST, "--summary-output", "s.json", "--no-live-output")
    assert done.returncode == 3, done.stderr
    rows = rows_in(mad.folder / "perf.csv")
    told = ("run_id", "model", "performance", "status", "reasons")
    ours = rows_in(mad.folder / "results/perf.csv")
    assert sorted([row[name] for name in told] for row in rows) == sorted([row[name] for name in told] for row in ours)
    assert list(rows[0])[:29] == MAD_COLUMNS
    found = {row["model"]: row for row in rows}
    status = {model: row["status"] for model, row in found.items()}
    assert status == {
        "nodata": "FAILURE", "old": "SKIPPED", "appends_m": "SUCCESS", "both": "SUCCESS", "constant": "SUCCESS",
        "empty": "FAILURE", "error": "FAILURE", "fails": "FAILURE", "good": "SUCCESS", "hf": "SUCCESS",
        "odd": "FAILURE", "rows_a": "SUCCESS", "rows_b": "FAILURE", "rows_c": "SUCCESS", "stale": "FAILURE",
    }  # fmt: skip
    why = {model: row["reasons"] for model, row in found.items()}
    assert "is_deprecated" in why["old"]
    assert "data.json does not exist" in why["nodata"]
    assert "RuntimeError: boom" in why["error"]
    assert "quota reached" in why["odd"]
    assert "no `performance: <number> <metric>` line" in why["empty"]
    assert "exit code 7" in why["fails"]
    assert found["fails"]["performance"] == ""
    assert "the script made no run_directory/perf_stale.csv" in why["stale"]
    assert "perf_rows.csv:3" in why["rows_b"]
    assert [row["performance"] for row in rows if row["model"] == "rows_c"] == ["6", "7"]
    assert [row["same_name"] for row in rows if row["model"] == "rows_c"] == ["1", "2"]
    assert found["appends_m"]["performance"] == "7"  # and no row of last week beside it
    assert not any(row["performance"] == "666" for row in rows)
    both = next(path for path in (mad.folder / "results/runs").glob("*-both-*"))
    notes = json.loads((both / "record.json").read_text())["notes"]
    assert any("console.log:1: torch.elastic: failed (exitcode: -9)" in note for note in notes)
    assert "performance: 100" not in done.stdout
    assert "performance: 100" in next((mad.folder / "results/runs").glob("*-good-*/node-0/console.log")).read_text()
    summary = json.loads((mad.folder / "s.json").read_text())
    assert {one["card"] for one in summary["skipped"]} == {"old"}
    assert {"nodata", "error", "rows"} <= {one["card"] for one in summary["failed"]}
    assert [row["model"] for row in summary["rows"]] == [row["model"] for row in rows]
    again = mad("report", "csv").stdout
    assert again == (mad.folder / "results/perf.csv").read_text()


def test_rows_go_where_they_are_wanted_and_leave_those_of_others_as_they_are(mad):
    (mad.folder / "mine.csv").write_text("model,performance,metric,status\r\nold one, 3 ,x,SUCCESS\r\n")
    for speed in ("100", "105"):
        words = ("--env", f"SPEED={speed}", "-o", "mine.csv")
        assert mad("run", "--tags", "good", *words, *HOST).returncode == 0
    text = (mad.folder / "mine.csv").read_bytes()
    assert b"\r\nold one, 3 ,x,SUCCESS\r\n" in text
    assert not (mad.folder / "perf.csv").exists()
    rows = rows_in(mad.folder / "mine.csv")
    assert [row["performance"] for row in rows[1:]] == ["100", "105"]
    assert [row["relative_change"] for row in rows[1:]] == ["", "+0.0500"]
    (mad.folder / "perf.csv").write_text("day,what\n")
    done = mad("run", "--tags", "good", *HOST)
    assert (done.returncode, "no rows here" in done.stderr) == (0, True)
    assert (mad.folder / "perf.csv").read_text() == "day,what\n"
    assert mad("report", "to-html", "--csv-file-path", "mine.csv").returncode == 0
    assert "<td>+0.0500</td>" in (mad.folder / "mine.html").read_text()


def test_files_by_the_names_of_mad(mad):
    details = ("--generate-sys-env-details", "True")
    assert mad("run", "--tags", "good", "--mad-files", *details, *HOST).returncode == 0
    made = names_in(mad.folder) - {"scripts", "models.json", "results"}
    assert made == {
        "perf.csv", "perf_entry.json", "perf_entry.csv", "perf_super.json", "perf_super.csv", "perf_entry_super.json",
        "perf_entry_super.csv", "common_info.json", "good.run.live.log", "good.live.log", "good_env.csv",
    }  # fmt: skip
    assert "⏰ Setting timeout to 7200 seconds." in (mad.folder / "good.live.log").read_text()
    (one,) = json.loads((mad.folder / "perf_super.json").read_text())
    assert one["configs"] == {"lr": 1}
    assert mad("run", "--tags", "good", "--mad-files", "--cleanup-perf", *HOST).returncode == 0
    assert not list(mad.folder.glob("perf_entry*"))
    assert len(json.loads((mad.folder / "perf_super.json").read_text())) == 2


def test_without_the_options_nothing_but_perf_csv_is_left(mad):
    mad("run", "--tags", "good", *HOST)
    assert names_in(mad.folder) == {"models.json", "scripts", "results", "perf.csv"}


def test_a_worker_that_need_not_measure_is_not_green(mad):
    done = mad("run", "--tags", "empty", "--env", "MAD_COLLECT_METRICS=false", *HOST)
    assert (done.returncode, "not measured: MAD_COLLECT_METRICS is false" in done.stdout) == (3, True)
    (row,) = rows_in(mad.folder / "perf.csv")
    assert (row["status"], row["performance"]) == ("SKIPPED", "")


def test_benign_patterns_and_the_switch_of_the_scan_reach_the_log(mad):
    notes = []
    for context in ("{}", "{'log_error_pattern_scan': False}", "{'log_error_benign_patterns': ['torch.elastic:']}"):
        done = mad("run", "--tags", "both", "--json", *HOST, "-c", context)
        (run,) = json.loads(done.stdout)["runs"]
        notes.append("an error in the log" in (mad.folder / run["run_dir"] / "record.json").read_text())
    assert notes == [True, False, False]


def test_what_was_left_out_can_be_looked_at(mad):
    mad("run", "--tags", "nodata", *HOST)
    status = mad("status", "last")
    assert (status.returncode, "data.json does not exist" in status.stdout) == (3, True)
    assert "was not run: FAILURE" in mad("logs", "last").stderr
    assert mad("gc").returncode == 0
    assert mad("ps").returncode == 0
    done = mad("run", "--json", "--tags", "nodata", "old", *HOST)
    found = json.loads(done.stdout)
    assert [(one["card"], one["status"]) for one in found["left_out"]] == [("nodata", "FAILURE"), ("old", "SKIPPED")]
    assert found["exit_code"] == done.returncode == 2


def test_all_nodes_leave_the_same_cards_out_and_node_0_alone_writes_their_rows(mad):
    port = str(free_port())
    args = {"RUNNER": "plain", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "NNODES": "2"}
    words = [("-c", str({"multi_node_args": {**args, "NODE_RANK": str(rank)}})) for rank in range(2)]
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda more: mad("run", "--tags", "old", "good", *HOST, *more), words))
    assert [one.returncode for one in done] == [0, 0], done
    assert all("SKIPPED old" in one.stdout for one in done)
    rows = rows_in(mad.folder / "perf.csv")
    assert [(row["model"], row["status"]) for row in rows] == [("old", "SKIPPED"), ("good", "SUCCESS")]
    worker = (*words[1], "--env", "MAD_COLLECT_METRICS=false")  # it alone need not measure, and the jobs are still one
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda more: mad("run", "--tags", "good", *HOST, *more), (words[0], worker)))
    assert [one.returncode for one in done] == [0, 0], done
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda more: mad("run", "--tags", "old", *HOST, *more), words))
    assert [one.returncode for one in done] == [3, 3]
    assert all("NOTHING WAS MEASURED" in one.stdout for one in done)


def test_a_card_for_which_no_dockerfile_matches_has_its_row(mad):
    from madrun.cli import leftout
    from madrun.errors import CardError
    from madrun.registry.catalogue import load
    from madrun.registry.mad.dockerfiles import matching

    card = next(card for card in load(mad.folder).cards if card.name == "good")
    with pytest.raises(CardError, match="no Dockerfile") as caught:
        matching(card, {"gpu_vendor": "AMD"})
    one = leftout.failed(card.name, caught.value, card)
    assert (one.kind, one.status, int(one.exit_code)) == ("card", "FAILURE", 2)


def on_two_nodes(mad, tags, port, more=((), ())):
    """What the command on each of two nodes ended with; `more` are further words of each, who has some comes later."""
    args = {"RUNNER": "plain", "NNODES": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    words = [("-c", str({"multi_node_args": {**args, "NODE_RANK": str(rank)}}), *more[rank]) for rank in range(2)]
    with ThreadPoolExecutor(2) as pool:
        return list(
            pool.map(
                lambda own, late: (time.sleep(late), mad("run", "--tags", *tags, *HOST, *own))[1],
                words,
                [1.5 * bool(one) for one in more],
            )
        )


def test_data_that_is_missing_ends_the_command_on_all_nodes_and_every_card_has_a_row(mad):
    done = on_two_nodes(mad, ["good", "nodata"], str(free_port()))
    assert [one.returncode for one in done] == [2, 2]
    rows = {row["model"]: row for row in rows_in(mad.folder / "perf.csv")}
    assert {name: row["status"] for name, row in rows.items()} == {"good": "SKIPPED", "nodata": "FAILURE"}
    assert "before its turn" in rows["good"]["reasons"]
    assert len(names_in(mad.folder / "results/runs")) == 2


@pytest.mark.parametrize("rank", [0, 1])
def test_a_wrong_word_of_one_node_ends_the_other_at_once(mad, rank):
    wrong = [(), ()]
    wrong[rank] = ("-s", "/no/such/dir.json")
    began = time.monotonic()
    done = on_two_nodes(mad, ["good"], str(free_port()), wrong)
    assert time.monotonic() - began < 120
    assert done[rank].returncode == 2
    assert done[1 - rank].returncode == 3
    assert "--summary-output: /no/such/dir.json cannot be written" in done[1 - rank].stderr
    if rank == 1:  # node 0 knows what became of its card
        assert [row["status"] for row in rows_in(mad.folder / "perf.csv")] == ["FAILURE"]


INTERRUPTS = """p=$$
until tr '\\0' ' ' < /proc/$p/cmdline | grep -q 'madrun run'; do p=$(cut -d' ' -f4 /proc/$p/stat); done
kill -INT "$p"; sleep 20
"""


def test_cards_whose_turn_did_not_come_have_rows_too(mad):
    (mad.folder / "scripts/good/run.sh").write_text(INTERRUPTS)
    done = mad("run", "--tags", "good", "hf", "--repeat", "2", *HOST)
    assert done.returncode == 130, done.stdout + done.stderr
    rows = [(row["model"], row["status"]) for row in rows_in(mad.folder / "perf.csv")]
    assert rows == [("good", "FAILURE"), ("hf", "SKIPPED")]
    assert len(names_in(mad.folder / "results/runs")) == 2
    assert "not run, the command ended before its turn: interrupted by SIGINT" in done.stdout
