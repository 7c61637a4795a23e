"""Cards that are selected and not run: why, with which row, and never as a success."""

import json
from dataclasses import replace

import pytest

from madrun.cli.leftout import LeftOut, failed, from_broken, lines_of, nothing_measured, why_skipped, write
from madrun.cli.madoptions import RepositoryOptions
from madrun.cli.request import Request
from madrun.errors import BuildError, CardError, DataError
from madrun.results import perfcsv
from madrun.spec.card import Card
from madrun.spec.context import Context, MultiNodeArgs
from madrun.spec.facts import Accelerator, Gpu
from madrun.spec.mad import MadCard
from madrun.spec.record import Record


def card_with(**mad):
    return Card(
        name="dir/one",
        folder="/repo/scripts/dir",
        repository="/repo",
        source="/repo/models.json",
        script="run.sh",
        tags=("t",),
        args="--a",
        gpus_per_node=4,
        mad=MadCard(short="one", dockerfile="docker/one", **mad),
    )


@pytest.fixture
def make_request(tmp_path):
    def make(**options):
        return Request(
            tags=("one",),
            repo=None,
            results=tmp_path / "results",
            additional_context=None,
            additional_context_file=None,
            site=None,
            env=(),
            mount=(),
            arg=(),
            flags={},
            command=("madrun", "run", "--env", "HF_TOKEN=hf_0123456789"),
            repository=RepositoryOptions(**options),
        )

    return make


@pytest.fixture
def make_accelerator():
    def make(vendor, arch, model):
        gpu = Gpu(index=0, arch=arch, model=model)
        return Accelerator(vendor=vendor, gpus=(gpu,))

    return make


@pytest.mark.parametrize(
    ("said", "vendor", "arch", "model", "is_skipped"),
    [
        ("gfx942", "amd", "gfx942", "AMD Instinct MI300X", True),
        ("gfx942", "amd", "gfx942:sramecc+:xnack-", "AMD Instinct MI300X", True),
        ("gfx90a", "amd", "gfx942", "AMD Instinct MI300X", False),
        ("A100", "nvidia", "sm_80", "NVIDIA A100-SXM4-80GB", True),
        ("a100", "nvidia", "sm_80", "NVIDIA A100-SXM4-80GB", True),
        ("A10", "nvidia", "sm_80", "NVIDIA A100-SXM4-80GB", False),
        ("H100", "nvidia", "sm_90", "NVIDIA H100 80GB HBM3", True),
        ("V100", "nvidia", "sm_70", "Tesla V100-SXM2-16GB", True),
        ("", "amd", "", "", False),
    ],
)
def test_a_card_is_skipped_on_the_gpus_that_it_names(
    make_request, make_accelerator, said, vendor, arch, model, is_skipped
):
    gpu = make_accelerator(vendor, arch, model)
    card = card_with(skip_gpu_arch=("gfx000", said))
    assert bool(why_skipped(card, make_request(), gpu)) == is_skipped
    assert why_skipped(card, make_request(disable_skip_gpu_arch=True), gpu) == ""


def test_a_deprecated_card_is_skipped_unless_it_is_asked_for(make_request):
    card = card_with(is_deprecated=True)
    assert "is_deprecated" in why_skipped(card, make_request(), Accelerator())
    assert why_skipped(card, make_request(ignore_deprecated=True), Accelerator()) == ""
    assert "is_deprecated" in why_skipped(card, make_request(disable_skip_gpu_arch=True), Accelerator())
    assert why_skipped(replace(card, mad=None), make_request(), Accelerator()) == ""


@pytest.mark.parametrize(
    ("error", "kind"),
    [(CardError("x"), "card"), (DataError("x"), "data"), (BuildError("x"), "image")],
)
def test_a_failure_is_told_by_its_kind(error, kind):
    one = failed("one", error)
    assert (one.kind, one.status, int(one.exit_code)) == (kind, "FAILURE", 2)


def test_a_card_that_is_left_out_has_a_record_and_a_row_without_secrets(make_request, make_facts):
    request = make_request()
    context = Context(docker_env_vars={"HF_TOKEN": "hf_0123456789"}, multi_node_args=MultiNodeArgs(NNODES=2))
    one = failed("dir/one", CardError("no Dockerfile for hf_0123456789\nmore"), card_with(), context)
    written = write(request, one, make_facts(), {"machine_name": "alpha"})
    assert "-dir_one-noplan-1" in written.run.run_id
    assert isinstance(written.record, Record)
    (row,) = perfcsv.read(request.results / "perf.csv")
    expected = {
        "model": "dir/one", "status": "FAILURE", "exit_code": "2", "args": "--a", "tags": "t", "n_gpus": "8",
        "nnodes": "2", "gpus_per_node": "4", "performance": "", "machine_name": "alpha", "plan_hash": "",
        "reasons": "card: no Dockerfile for ***",
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected
    for file in written.run.path.rglob("*"):
        assert "hf_0123456789" not in file.read_text()
    assert json.loads((written.run.path / "record.json").read_text())["culprit"]["kind"] == "card"
    assert not (written.run.path / "plan.json").exists()
    perfcsv.rebuild(request.results)
    assert perfcsv.read(request.results / "perf.csv") == [row]
    lines = lines_of(written)
    assert lines[0] == "FAILURE dir/one"
    assert "  more" in lines


def test_other_nodes_than_node_0_write_nothing(make_request, make_facts):
    context = Context(multi_node_args=MultiNodeArgs(NNODES=2, NODE_RANK=1))
    one = LeftOut(name="one", reason="why", card=card_with(), context=context)
    written = write(make_request(), one, make_facts(), {})
    assert (written.run, written.record) == (None, None)
    assert lines_of(written) == ["SKIPPED one", "  why"]
    assert not make_request().results.exists()


def test_cards_that_cannot_be_read_belong_to_all(tmp_path):
    errors = [CardError(f"{tmp_path}/scripts/x/models.json:3:1: not JSON")]
    (one,) = from_broken(errors, ["all:flag"], tmp_path)
    assert (one.name, one.kind) == ("scripts/x/models.json", "card")
    assert from_broken(errors, ["one", "two"], tmp_path) == []


def test_nothing_measured_is_said_aloud():
    (line,) = nothing_measured(["SKIPPED", "SKIPPED"], on_purpose=False)
    assert line == "NOTHING WAS MEASURED: 2 cards SKIPPED, so this command ends with exit code 3"
    assert "as --skip-model-run asks" in nothing_measured(["SKIPPED"], on_purpose=True)[0]
    assert nothing_measured(["SKIPPED", "SUCCESS"], on_purpose=False) == []
    assert nothing_measured(["SKIPPED", "FAILURE"], on_purpose=False) == []
    assert nothing_measured([], on_purpose=False) == []
