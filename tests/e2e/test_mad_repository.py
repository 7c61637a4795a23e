"""A model repository of MAD, as it stands, through the command line: each row of its contract has a card that runs.

The cards' scripts look for themselves: each ends with an error where it does not find what it may rely on. The last
tests are the options: a script that fails without the option, and the run in which it does not.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from e2e_parts import containers
from mad_bed import BASE, PASSWORD, TOKEN, Checkout, check_out, git

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.beside, pytest.mark.usefixtures("mad_base")]
pytestmark += [pytest.mark.timeout(900)]  # the one run of all cards takes 40 s where nothing else runs

# Row of the contract, name in perf.csv, and what is measured. A card that is not everyday is selected by its name.
ROWS: list[tuple[str, str, dict[str, str]]] = [
    ("1.2 one .sh; 2.3.3 a log line", "dummy", {"samples_per_second": "1024.5"}),
    ("1.2 a folder means run.sh; tags as one text", "dummy_folder", {"samples_per_second": "1024.5"}),
    ("1.2 .py; n_gpus -1", "dummy_python", {"steps_per_second": "3.5"}),
    ("1.2 .slurm", "dummy_slurm", {"jobs": "4"}),
    ("1.2 args as shell text, byte for byte", "args_bytes", {"words": "9"}),
    ("1.3 arguments behind a tag", "args_tag", {"batch": "512"}),
    ("1.1, 1.8, 2.3.2 the checkout is ../", "layout", {"widgets": "1.5e+3"}),
    ("1.8 variables; 1.2 env_vars; multiple_results in the run directory", "variables_all", {"variables": "12"}),
    ("1.8 MAD_SECRETS; 2.3.4 a trace", "secret_trace", {"login": "1"}),
    ("1.2 cred, 1.10 credential.json", "credential", {"credentials": "2"}),
    ("1.7 runner under eval", "runner_eval", {"launch": "1"}),
    ("1.7 runner expanded plainly", "runner_plain", {"launch": "1"}),
    ("1.2 distributed; 1.7 an empty runner", "launch_vllm", {"server": "1"}),
    ("1.7 sglang_disagg is an alias", "launch_disagg", {"server": "1"}),
    ("1.2 additional_docker_run_options with a host variable", "docker_options", {"options": "2"}),
    ("1.4 no CONTEXT header", "no_header", {"plain": "1"}),
    ("1.4 every survivor is built and run", "pair", {"first": "1", "second": "1"}),
    ("1.4 MAD_SECRETS in a build", "build_secret", {"secret": "1"}),
    ("1.8 an image with an ENTRYPOINT", "image_entry", {"samples_per_second": "1024.5"}),
    ("1.4 --build-context tools", "image_tools", {"file": "1"}),
    ("1.2 context of primus", "image_primus", {"file": "1"}),
    ("1.2 dockercontext", "image_context", {"file": "1"}),
    ("1.2 default context", "image_default", {"file": "1"}),
    ("2.3.2 trees inside the image", "image_tree", {"tree": "1"}),
    ("1.2 skip_gpu_arch of other hosts", "skip_arch", {"samples_per_second": "1024.5"}),
    ("1.11 timeout -1", "patience", {"patience": "1"}),
    ("1.10 local, read only", "data_local", {"corpus": "1"}),
    ("1.10 two sources, home, readwrite", "data_two", {"corpora": "2"}),
    ("1.10 custom", "data_custom", {"words": "3"}),
    ("1.10, 2.3.6 no provider", "data_none", {"download": "1"}),
    ("1.2 url, with a submodule", "cloned", {"clone": "1"}),
    ("1.9, 2.3.3 rows and extra columns", "sweep_tiny-tp1", {"throughput_tot": "100.25", "median_tpot": "10.5"}),
    ("1.9 the second row of the sweep", "sweep_tiny-tp2", {"throughput_tot": "200.25", "median_tpot": "20.5"}),
    ("1.9 header names are stripped; nothing of an older file", "in_place_now", {"throughput_tot": "7"}),
    ("2.3.3 megatron", "megatron_bf16_llama_bf16", {"tok_per_s_per_gpu": "43.5", "TFLOPS_per_gpu": "88"}),
    ("1.9 the trainer's line", "trainer", {"samples_per_second": "81.25"}),
    ("1.9 a unit behind the number", "units", {"tokens": "12.5"}),
    ("1.9 several lines", "two_metrics", {"alpha": "10", "beta": "20"}),
    ("1.9 words of an error beside a number", "noise", {"images_per_second": "33"}),
    ("1.2, 1.9 patterns of the card", "patterns", {"fish": "5"}),
    ("1.3 nested, with a file", "nested/inner", {"nested": "1"}),
    ("1.3 nested, with a folder", "nested/folder", {"nested_sub": "1"}),
    ("2.1 nested at two depths", "deep/er/low", {"deep_er": "1"}),
    ("1.3 one short name twice", "twin_a/twin", {"twin_a": "1"}),
    ("1.3 and the other", "twin_b/twin", {"twin_b": "1"}),
    ("2.1 generated", "primus_train/llama-BF16_primus_run", {"tokens_per_second": "11.5", "tflops": "4"}),
    ("2.1 generated, the other file", "primus_train/llama-FP8_primus_run", {"tokens_per_second": "11.5"}),
    ("1.3 update_model", "primus_train/hooked_primus_run", {"tokens_per_second": "11.5"}),
    ("2.1 the first generation's import", "jax-maxtext/tiny", {"seconds_per_step": "0.25"}),
]
TAGS = ["everyday", "args_tag:batch_size=512:in=32:fast", "tools_context"]
HEADER = (
    "model,n_gpus,nnodes,gpus_per_node,training_precision,pipeline,args,tags,docker_file,base_docker,docker_sha,"
    "docker_image,git_commit,machine_name,deployment_type,launcher,gpu_architecture,performance,metric,relative_change,"
    "status,build_duration,test_duration,dataname,data_provider_type,data_size,data_download_duration,build_number,"
    "additional_docker_run_options"
)


@pytest.fixture(scope="module")
def everyday(tmp_path_factory: pytest.TempPathFactory, mad_base: None) -> tuple[Checkout, Any, dict[str, str]]:
    """One run of all the cards that go well: checkout, how the command ended, what stood in the checkout before."""
    checkout = check_out(tmp_path_factory.mktemp("everyday"), to_clone=True)
    before = checkout.hashes()
    return checkout, checkout.run("run", "--tags", *TAGS, timeout=800), before


def test_the_list_has_every_card_of_the_three_forms(checkout: Checkout) -> None:
    done = checkout.run("list", "--json")
    assert done.returncode == 0, done.stderr
    names = [card["name"] for card in json.loads(done.stdout)]
    root = [card["name"] for card in json.loads((checkout.folder / "models.json").read_text())]
    nested = ["nested/inner", "nested/folder", "deep/er/low", "twin_a/twin", "twin_b/twin"]
    generated = ["primus_train/llama-BF16", "primus_train/llama-FP8", "primus_train/hooked", "jax-maxtext/tiny"]
    assert sorted(names) == sorted(root + nested + generated)
    assert len(names) >= 40
    assert "the submodule is missing" in done.stderr


def test_every_card_succeeds_in_one_run(everyday: tuple[Checkout, Any, dict[str, str]]) -> None:
    checkout, done, _ = everyday
    wrong = {card: checkout.console(card)[-400:] for card, status in checkout.status().items() if status != "SUCCESS"}
    assert not wrong
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("model", "measured"), [row[1:] for row in ROWS], ids=[f"{row[1]}: {row[0]}" for row in ROWS])
def test_the_row_of_the_contract_is_kept(
    everyday: tuple[Checkout, Any, dict[str, str]], model: str, measured: dict[str, str]
) -> None:
    checkout, done, _ = everyday
    rows = [row for row in checkout.rows() if row["model"] == model]
    assert rows, done.stdout[-2000:] + done.stderr[-2000:]
    found = {row["metric"]: row["performance"] for row in rows}
    assert measured.items() <= found.items()
    assert {row["status"] for row in rows} == {"SUCCESS"}


def test_every_card_that_was_selected_stands_in_the_table_of_the_contract(
    everyday: tuple[Checkout, Any, dict[str, str]],
) -> None:
    checkout, _, _ = everyday
    covered = {name for _, name, _ in ROWS}
    ran = {record["card"] for record in checkout.records()}
    assert len(ran) >= 40
    assert [card for card in ran if not any(name == card or name.startswith(f"{card}_") for name in covered)] == []


def test_the_columns_are_those_that_existing_readers_know(everyday: tuple[Checkout, Any, dict[str, str]]) -> None:
    checkout, _, _ = everyday
    assert (checkout.folder / "perf.csv").read_text().startswith(HEADER)
    assert HEADER.count(",") == 28
    rows = {row["model"]: row for row in checkout.rows()}
    dummy, sweep = rows["dummy"], rows["sweep_tiny-tp2"]
    assert {name: dummy[name] for name in ("training_precision", "pipeline", "build_number", "tags")} == {
        "training_precision": "fp16",
        "pipeline": "nightly",
        "build_number": "77",
        "tags": "dummies,everyday",
    }
    assert (dummy["docker_file"], dummy["base_docker"]) == ("docker/base.ubuntu.cpu.Dockerfile", BASE)
    assert {name: sweep[name] for name in ("benchmark", "tp", "inp", "unit")} == {
        "benchmark": "serving",
        "tp": "2",
        "inp": "128",
        "unit": "ms" if sweep["metric"] == "median_tpot" else "tok/s",
    }
    assert rows["cloned"]["git_commit"] in git(checkout.host / "tiny", "rev-parse", "HEAD")
    assert len(rows["cloned"]["git_commit"]) >= 7
    assert (rows["data_local"]["dataname"], rows["data_local"]["data_provider_type"]) == ("corpus", "local")
    assert rows["data_custom"]["data_provider_type"] == "custom"
    assert "zoo-box" in rows["docker_options"]["additional_docker_run_options"]
    files = {row["metric"]: row["docker_file"] for row in checkout.rows() if row["model"] == "pair"}
    assert files == {
        "first": "docker/pair.first.ubuntu.Dockerfile",
        "second": "docker/pair.second.ubuntu.cpu.Dockerfile",
    }


def test_the_checkout_is_as_it_was(everyday: tuple[Checkout, Any, dict[str, str]]) -> None:
    checkout, _, before = everyday
    assert checkout.hashes() == before


def test_what_a_script_wrote_to_its_workspace_is_in_the_run_directory(
    everyday: tuple[Checkout, Any, dict[str, str]],
) -> None:
    checkout, _, _ = everyday
    names = {str(path.relative_to(checkout.output("layout"))) for path in checkout.output("layout").rglob("*")}
    assert {"run_directory/note.txt", "note_above.txt", "left_over"} <= names
    assert (checkout.output("megatron_bf16") / "train.log").read_text().startswith("iteration 1 ")
    assert (checkout.host / "tokens/written_by_the_script").read_text() == "mine\n"


def test_no_container_and_no_secret_is_left(everyday: tuple[Checkout, Any, dict[str, str]], engine: Any) -> None:
    checkout, done, _ = everyday
    assert not containers(engine, checkout.folder)
    assert "export HF_TOKEN=" in checkout.console("secret_trace")
    for word in (TOKEN, PASSWORD):
        assert word not in done.stdout + done.stderr
        holding = [
            str(path)
            for path in [*checkout.folder.glob("results/**/*"), checkout.folder / "perf.csv"]
            if path.is_file() and word.encode() in path.read_bytes()
        ]
        assert holding == []


def test_words_of_an_error_are_reported_and_a_number_counts_all_the_same(
    everyday: tuple[Checkout, Any, dict[str, str]],
) -> None:
    checkout, _, _ = everyday
    assert "Traceback (most recent call last)" in checkout.notes("noise")
    assert "zoo-alarm" in checkout.notes("patterns")
    assert "tests FAILED" not in checkout.notes("patterns")
