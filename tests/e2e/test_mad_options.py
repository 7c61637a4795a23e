"""Each option that users of MAD repositories know, with a card whose script fails without it.

One run without any option shows that each of the cards fails, one with all of them that none does; what cannot stand
beside the others has a test of its own.
"""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from e2e_parts import containers, until
from mad_bed import BASE, Checkout, check_out

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.beside, pytest.mark.usefixtures("mad_base")]

CARDS = [
    "option_env",
    "option_mount",
    "option_cpus",
    "option_shm",
    "option_args",
    "option_pre",
    "option_encapsulate",
    "option_tools",
    "option_data",
    "option_docker",
    "option_build_arg",
    "option_nodes",
    "option_file",
]


_TIMEOUTS: list[list[str]] = [["--timeout", "90"], ["--timeout", "0"], ["--timeout", "-1"]]


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory, mad_base: None) -> dict[str, str]:
    """How each card ends when no option is given."""
    checkout = check_out(tmp_path_factory.mktemp("without"))
    done = checkout.run("run", "--tags", "option")
    assert done.returncode == 3, done.stdout + done.stderr
    return checkout.status()


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory, mad_base: None) -> tuple[Checkout, Any]:
    """The run with all of them; a context in a file, and one that stands above it."""
    checkout = check_out(tmp_path_factory.mktemp("given"))
    host = checkout.host
    (checkout.folder / "context.json").write_text(
        json.dumps({"docker_env_vars": {"FROM_FILE": "kept", "FROM_BOTH": "from the file"}})
    )
    context = {
        "docker_env_vars": {"OPT_WORD": 'a b $HOME "q"', "OPT_NUMBER": 4, "FROM_BOTH": "from the command line"},
        "docker_mounts": {"/opt_mount": str(host / "corpus"), "/opt_weights": str(host / "tokens")},
        "docker_cpus": " 0 ",
        "SHM_SIZE": "80m",
        "model_args": "--replaced by $(echo me)",
        "pre_scripts": [{"path": "scripts/common/pre_scripts/mark.sh", "args": "one two"}],
        "post_scripts": [{"path": "scripts/common/post_scripts/mark.sh", "args": "all"}],
        "encapsulate_script": "env WRAPPED=yes",
        "tools": [{"name": "inner", "env_vars": {"TOOL_WORD": "from the context"}}, {"name": "outer"}],
        "data": {"by_context": {"local": {"path": str(host / "tokens")}}},
        "additional_docker_run_options": "--env RAW_OPTION='x y'",
        "docker_build_arg": {"FLAVOR": "chocolate"},
        "multi_node_args": {"RUNNER": "torchrun", "MASTER_PORT": "29777", "NPROC_PER_NODE": "3", "NNODES": "1"},
    }
    (checkout.host / "corpus/weights.txt").write_text("to be read\n")
    words = ["run", "--tags", "option", "-f", "context.json", "-c", str(context)]
    return checkout, checkout.run(*words)


@pytest.mark.parametrize("card", CARDS)
def test_the_option_is_what_lets_the_script_succeed(
    without: dict[str, str], given: tuple[Checkout, Any], card: str
) -> None:
    checkout, done = given
    assert without[card] == "FAILURE"
    status = checkout.status()
    assert card in status, done.stdout[-2000:] + done.stderr[-2000:]
    assert status[card] == "SUCCESS", checkout.console(card)[-600:]


def test_post_scripts_run_after_the_script_and_what_they_write_is_kept(given: tuple[Checkout, Any]) -> None:
    checkout, _ = given
    output = checkout.output("option_tools")
    assert (output / "post.mark").read_text() == "after all\n"
    assert (output / "tool_seen.mark").read_text() == "tool outer\n"


def test_ctx_test_chooses_the_dockerfile_by_key_or_by_file(checkout: Checkout) -> None:
    none = checkout.run("run", "--tags", "option_ctx")
    assert none.returncode == 2
    assert "docker/chosen.ubuntu.cpu.Dockerfile" in none.stderr + none.stdout
    assert checkout.run("run", "--tags", "option_ctx", "-c", "{'ctx_test': 'chosen'}").returncode == 0
    (checkout.folder / "ctx_test").write_text("chosen\n")
    assert checkout.run("run", "--tags", "option_ctx").returncode == 0
    assert [row["metric"] for row in checkout.rows() if row["status"] == "SUCCESS"] == ["chosen", "chosen"]


def test_guest_os_leaves_one_of_two_dockerfiles(checkout: Checkout) -> None:
    done = checkout.run("run", "--tags", "option_guest", "-c", "{'guest_os': 'UBUNTU'}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [row["docker_file"] for row in checkout.rows()] == ["docker/guest.ubuntu.cpu.Dockerfile"]


def test_a_runner_that_is_given_is_kept(checkout: Checkout) -> None:
    words = "{'docker_env_vars': {'MAD_MULTI_NODE_RUNNER': 'deepspeed --num_gpus=1'}}"
    planned = checkout.run("plan", "--tags", "launch_deepspeed", "-c", words)
    assert "MAD_MULTI_NODE_RUNNER=deepspeed --num_gpus=1" in planned.stdout
    done = checkout.run("run", "--tags", "launch_deepspeed", "-c", words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert checkout.run("run", "--tags", "option_launcher").returncode == 3
    assert checkout.run("run", "--tags", "option_launcher", MAD_LAUNCHER="vllm").returncode == 0
    given = checkout.run("plan", "--tags", "dummy", MAD_MULTI_NODE_RUNNER="deepspeed --num_gpus=3")
    assert "MAD_MULTI_NODE_RUNNER=deepspeed --num_gpus=3" in given.stdout


def test_the_count_of_gpus_is_taken_from_the_first_of_five_keys(checkout: Checkout) -> None:
    keys = {"ngpus": 7, "num_gpus": 6, "n_gpus": 5, "gpu_count": 4, "gpus_per_node": 3}
    for words, count in ((keys, 3), ({"num_gpus": 6, "ngpus": 7}, 6)):
        done = checkout.run("plan", "--tags", "dummy", "-c", str(words))
        assert f"MAD_RUNTIME_NGPUS={count}" in done.stdout, done.stderr


def test_a_ready_image_leaves_the_dockerfile_alone(checkout: Checkout) -> None:
    words = ["run", "--tags", "build_fails", "-c", f"{{'MAD_CONTAINER_IMAGE': '{BASE}'}}"]
    done = checkout.run(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert checkout.rows()[0]["docker_image"] == BASE


def test_a_deprecated_card_runs_only_when_that_is_asked_for(checkout: Checkout) -> None:
    checkout.run("run", "--tags", "old")
    assert checkout.status()["old"] == "SKIPPED"
    for spelling in ("--ignore-deprecated", "--ignore-deprecated-flag"):
        assert checkout.run("run", "--tags", "old", spelling).returncode == 0
    assert [row["status"] for row in checkout.rows()] == ["SKIPPED", "SUCCESS", "SUCCESS"]


def test_the_timeout_of_the_command_line_wins(checkout: Checkout) -> None:
    assert checkout.run("run", "--tags", "slow", "--timeout", "0.5", "-c", "{'grace': '0.2s'}").returncode == 3
    assert "timeout" in json.dumps(checkout.record("slow")["reasons"])
    limits = [checkout.limits("--tags", "sleeps", *words)["sleeps"] for words in _TIMEOUTS]
    assert limits == [90, 0, 1], "that of the command line, none, and -1 for not given: the card's"
    assert checkout.run("run", "--tags", "slow").returncode == 0


def test_files_are_written_where_the_options_ask_for_them(checkout: Checkout) -> None:
    done = checkout.run("run", "--tags", "dummy")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not [*checkout.folder.glob("perf_*")], "nothing that was not asked for"
    assert not [*checkout.folder.glob("results/**/run_directory/run.sh")]
    assert "timings:" not in done.stdout + done.stderr
    (checkout.folder / "out").mkdir()
    words = ["--output", "out/mine.csv", "--mad-files", "-s", "out/summary.json", "--manifest-output", "out/m.json"]
    done = checkout.run("run", "--tags", "dummy", *words, "--keep-model-dir", "--sys-env-details", "-l", "--verbose")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "timings:" in done.stdout + done.stderr
    rows = checkout.rows("out/mine.csv")
    assert [row["performance"] for row in rows][-1] == "1024.5"
    out = checkout.folder / "out"
    names = {path.name for path in out.iterdir()}
    expected = {"perf_entry.csv", "perf_entry.json", "perf_super.json", "perf_super.csv", "summary.json", "m.json"}
    assert expected <= names
    assert "dummy_env.csv" in names
    assert {"dummy_base.ubuntu.cpu.live.log"} <= {name for name in names if name.endswith(".live.log")}
    manifest = json.loads((out / "m.json").read_text())
    assert [model["name"] for model in manifest["built_models"].values()] == ["dummy"]
    kept = Path(checkout.record("dummy")["home"])
    assert [*kept.rglob("run_directory/run.sh")], "the directory in which the script ran, whole"


def test_live_output_shows_what_the_script_prints_and_the_log_is_whole_in_both(checkout: Checkout) -> None:
    loud = checkout.run("run", "--tags", "dummy", "--live-output")
    assert "batch size 8 on" in loud.stdout + loud.stderr
    first = checkout.console("dummy")
    quiet = checkout.run("run", "--tags", "dummy", "--no-live-output")
    assert "batch size 8 on" not in quiet.stdout + quiet.stderr
    assert checkout.console("dummy") == first


def test_skip_model_run_does_all_but_the_script(checkout: Checkout) -> None:
    done = checkout.run("run", "--tags", "exits", "--skip-model-run")
    assert done.returncode == 0, done.stdout + done.stderr
    row = checkout.rows()[-1]
    assert (row["model"], row["status"], row["performance"]) == ("exits", "SKIPPED", "")


def test_a_manifest_brings_its_images_along(checkout: Checkout) -> None:
    key = "ci-build_fails_broken.ubuntu.cpu"
    entry = next(e for e in json.loads((checkout.folder / "models.json").read_text()) if e["name"] == "build_fails")
    manifest = {
        "built_images": {key: {"docker_image": BASE, "dockerfile": "docker/broken.ubuntu.cpu.Dockerfile"}},
        "built_models": {key: entry},
        "context": {"docker_env_vars": {"OPT_NUMBER": "4"}, "gpu_vendor": "CPU"},
    }
    (checkout.folder / "build_manifest.json").write_text(json.dumps(manifest))
    assert checkout.run("run", "--tags", "build_fails").returncode == 2
    done = checkout.run("run", "--tags", "build_fails", "--manifest-file", "build_manifest.json")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_builders_cache_is_left_out_when_that_is_asked_for(checkout: Checkout) -> None:
    for words in ([], [], ["--clean-docker-cache"]):
        assert checkout.run("run", "--tags", "stamp", *words).returncode == 0
    first, second, third = (row["performance"] for row in checkout.rows())
    assert first == second
    assert float(third) > float(second)


def test_data_sources_come_from_another_file(checkout: Checkout) -> None:
    other = checkout.folder / "other_data.json"
    other.write_text(json.dumps({"by_context": {"local": {"path": str(checkout.host / "tokens")}}}))
    for spelling in ("--data-config", "--data-config-file-name"):
        assert checkout.run("run", "--tags", "option_data", spelling, other.name).returncode == 0


def test_tools_come_from_another_file(checkout: Checkout) -> None:
    other = checkout.folder / "other_tools.json"
    tool = {"pre_scripts": [], "cmd": "env WRAPPED=yes", "env_vars": {}, "post_scripts": []}
    other.write_text(json.dumps({"tools": {"mine": tool}}))
    words = ["run", "--tags", "option_encapsulate", "-c", "{'tools': [{'name': 'mine'}]}"]
    assert checkout.run(*words).returncode in (2, 4), "no such tool without the file"
    for spelling in ("--tools-config", "--tools-json-file-name"):
        assert checkout.run(*words, spelling, other.name).returncode == 0


def test_a_mirror_is_filled_once_on_this_host(checkout: Checkout) -> None:
    mirror = checkout.host / "mirror"
    assert checkout.run("run", "--tags", "data_custom", "--force-mirror-local", str(mirror)).returncode != 0
    mirror.mkdir()
    for _ in range(2):
        done = checkout.run("run", "--tags", "data_custom", "--force-mirror-local", str(mirror))
        assert done.returncode == 0, done.stdout + done.stderr
    assert (mirror / "made/made.txt").read_text() == "3 words\n"


def test_the_entries_of_the_last_run_are_removed_when_that_is_asked_for(checkout: Checkout) -> None:
    for words, there in (([], True), (["--cleanup-perf"], False)):
        assert checkout.run("run", "--tags", "dummy", "--mad-files", *words).returncode == 0
        assert (checkout.folder / "perf_entry.csv").exists() is there
        assert (checkout.folder / "perf_super.json").exists()
    assert len(checkout.rows()) == 2


def test_an_image_is_built_for_another_architecture_and_taken_from_the_manifest(checkout: Checkout) -> None:
    words = ["build", "--tags", "option_arch", "--manifest-output", "build_manifest.json"]
    done = checkout.run(*words, "--target-archs", "gfx942", "-s", "summary.json")
    assert done.returncode == 0, done.stdout + done.stderr
    images = json.loads((checkout.folder / "build_manifest.json").read_text())["built_images"]
    assert [image["gpu_architecture"] for image in images.values()] == ["gfx942"]
    assert checkout.run("run", "--tags", "option_arch").returncode == 3
    done = checkout.run("run", "--tags", "option_arch", "-m", "build_manifest.json")
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_speaks_against_a_log_is_the_contexts_choice(checkout: Checkout) -> None:
    alarm = "RuntimeError: the store is closed already"
    assert checkout.run("run", "--tags", "noise", "-c", "{'log_error_pattern_scan': False}").returncode == 0
    assert alarm not in checkout.notes("noise")
    chosen = "{'log_error_benign_patterns': ['the store is closed'], 'log_error_patterns': ['store', 'images_per']}"
    assert checkout.run("run", "--tags", "noise", "-c", chosen).returncode == 0
    assert alarm not in checkout.notes("noise")
    assert "images_per" in checkout.notes("noise")


def test_the_environment_is_written_down_when_that_is_asked_for(checkout: Checkout) -> None:
    file = checkout.folder / "dummy_env.csv"
    asked = (["--sys-env-details"], ["--generate-sys-env-details", "True"], ["-c", "{'gen_sys_env_details': True}"])
    for words in ([], *asked):
        done = checkout.run("run", "--tags", "dummy", "--mad-files", *words)
        assert done.returncode == 0, done.stdout + done.stderr
        assert file.exists() is bool(words), words
        file.unlink(missing_ok=True)


def test_the_commands_have_the_names_that_are_known(checkout: Checkout) -> None:
    assert "nested/inner" in checkout.run("discover", "--tags", "nested/all").stdout
    assert checkout.run("run", "--tags", "dummy").returncode == 0
    done = checkout.run("report", "to-html", "--csv-file-path", "perf.csv")
    assert done.returncode == 0, done.stderr
    assert "1024.5" in (checkout.folder / "perf.html").read_text()
    done = checkout.run("report", "to-email", "--directory", ".", "--output", "mail.html")
    assert done.returncode in (0, 2)
    assert done.returncode or "1024.5" in (checkout.folder / "mail.html").read_text()


def test_a_container_is_kept_alive_until_it_is_no_longer_wanted(checkout: Checkout, engine: Any) -> None:
    with checkout.start("run", "--tags", "dummy", "--keep-alive") as child:
        try:
            until(lambda: [*checkout.folder.glob("results/runs/*/node-0/console.log")] != [], 60, "the run's log")
            log = next(checkout.folder.glob("results/runs/*/node-0/console.log"))
            until(lambda: "performance:" in log.read_text(), 60, "the script's line")
            time.sleep(0.5)
            assert len(containers(engine, checkout.folder)) == 1
            child.send_signal(signal.SIGINT)
            assert child.wait(60) in (0, 130)
        finally:
            if child.poll() is None:
                child.kill()
    assert not containers(engine, checkout.folder)


def test_a_repository_elsewhere_is_run_without_a_copy(checkout: Checkout, tmp_path: Path) -> None:
    before = checkout.hashes()
    here = tmp_path / "here"
    here.mkdir()
    for words, env in ((["--repo", str(checkout.folder)], {}), ([], {"MODEL_DIR": str(checkout.folder)})):
        done = checkout.run("run", "--tags", "layout", *words, cwd=here, **env)
        assert done.returncode == 0, done.stdout + done.stderr
    assert checkout.hashes() == before
    assert sorted(path.name for path in here.iterdir()) == ["perf.csv", "results"]


def test_the_tag_grammar_of_both_generations(checkout: Checkout) -> None:
    def listed(*tags: str) -> set[str]:
        done = checkout.run("list", "--json", *tags)
        assert done.returncode == 0, done.stderr
        return {card["name"] for card in json.loads(done.stdout)}

    assert listed("--tags", "dummy", "old", "slow") == {"dummy", "old", "slow"}
    assert listed("--tags", "dummy,old", "-t", "slow") == {"dummy", "old", "slow"}
    assert listed("--tags", "nested/all") == {"nested/inner", "nested/folder"}
    assert listed("--tags", "nested/inner_tag") == {"nested/inner", "nested/folder"}
    assert listed("--tags", "inner") == {"nested/inner"}
    assert listed("--tags", "twin") == {"twin_a/twin", "twin_b/twin"}
    assert listed("--tags", "nested/inner:flag") == {"nested/inner"}, "a folder and an argument at once"
