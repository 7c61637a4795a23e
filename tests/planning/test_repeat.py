"""A saved plan is repeated to the letter, or refused with the reason."""

import contextlib
import copy
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.errors import ContextError
from madrun.planning import repeat
from madrun.spec.binding import bind
from madrun.spec.codec import sha256, to_json, to_plain
from madrun.spec.fabric import Hca, HcaPort
from madrun.spec.facts import Accelerator, Engine, Gpu
from madrun.spec.plan import ImagePlan, Mount, make_plan, sealed

IN_DOCKER = {"runtime": "docker", "image": ImagePlan(kind="ready", name="img:1")}
RUN_ID, RUN_DIR = "20261121T000000Z-one-abcdef-1", "/home/u/results/runs/20261121T000000Z-one-abcdef-1"


@pytest.fixture(scope="module")
def docker_node(make_node, container):
    """Node 0 with a container, as planning makes it: texts of the run are placeholders."""
    env = {"MADRUN_RUN_ID": "{run_id}", "MADRUN_OWNER": "1000:1001", "MASTER_PORT": "29501", "MULTI_NODE_RUNNER": "x"}
    mounts = (Mount(source="{run_dir}/node-0/box", target="/madrun"), Mount(source="/nfs", target="/data"))
    labels = {"madrun.run": "{run_id}", "madrun.owner": "1000"}
    made = replace(container, name="madrun-{run_id}-n0", env=env, mounts=mounts, labels=labels)
    return make_node(container=made, process=None, owner="1000:1001")


@pytest.fixture(scope="module")
def process_node(make_node):
    node = make_node()
    return replace(node, process=replace(node.process, env=node.process.env | {"MADRUN_RUN_ID": "{run_id}"}))


@pytest.fixture(scope="module")
def saved(make_job, docker_node):
    """What plan.json of a run holds."""
    plan = make_plan("0.1", make_job(**IN_DOCKER), bind(docker_node, RUN_ID, RUN_DIR))
    return json.loads(to_json(sealed(plan)))


@pytest.mark.parametrize("kind", ["docker_node", "process_node"])
def test_a_saved_plan_is_read_as_it_was_before_its_run(request, make_job, kind):
    node = request.getfixturevalue(kind)
    plan = make_plan("0.1", make_job(**IN_DOCKER) if node.container else make_job(), node)
    bound = replace(plan, nodes=(bind(node, RUN_ID, RUN_DIR),))
    assert bound != plan
    assert repeat.read_plan(json.loads(to_json(sealed(bound))), "p", "0.1") == plan


def test_a_plan_that_was_printed_and_never_run_is_read_too(make_job, docker_node):
    plan = make_plan("0.1", make_job(**IN_DOCKER), docker_node)
    assert repeat.read_plan(json.loads(to_json(sealed(plan))), "p", "0.1") == plan


@pytest.mark.parametrize("data", [[], {}, "text", None, {"format": 1, "job": {}}])
def test_what_is_no_plan_is_refused(data):
    with pytest.raises(ContextError, match="--plan: p.json holds no plan; allowed: the plan.json of a run"):
        repeat.read_plan(data, "p.json", "0.1")


def edited(saved, *path, value):
    data = copy.deepcopy(saved)
    inside = data
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = value
    return data


@pytest.mark.parametrize(
    ("path", "value"),
    [(("job", "timeout_s"), 1.0), (("job", "args"), "--fast"), (("job", "env"), {"A": "1"}), (("job", "new"), 1)],
)
def test_an_edited_job_is_refused_with_both_hashes(saved, path, value):
    data = edited(saved, *path, value=value)
    with pytest.raises(ContextError, match="was edited: it says job hash") as caught:
        repeat.read_plan(data, "p", "0.1")
    assert saved["job_hash"][:12] in str(caught.value)
    assert sha256(data["job"])[:12] in str(caught.value)
    assert "madrun run --tags" in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("nodes", 0, "container", "ipc"), "host"),
        (("nodes", 0, "master_port"), 1),
        (("nodes",), []),
        (("madrun",), "0.2"),
        (("checksum",), "0" * 64),
        (("more",), 1),
    ],
)
def test_a_plan_edited_outside_of_its_job_is_refused(saved, path, value):
    with pytest.raises(ContextError, match="was edited outside of its job: it says checksum"):
        repeat.read_plan(edited(saved, *path, value=value), "p", "0.1")


def test_a_plan_without_a_checksum_is_refused(saved):
    data = {key: value for key, value in saved.items() if key != "checksum"}
    with pytest.raises(ContextError, match="p has no checksum"):
        repeat.read_plan(data, "p", "0.1")


def resealed(data):
    plain = {key: value for key, value in data.items() if key != "checksum"}
    plain["job_hash"] = sha256(plain["job"])
    return {**plain, "checksum": sha256(plain)}


def test_a_plan_of_a_newer_madrun_names_both_versions(saved):
    data = resealed({**saved, "format": 2, "madrun": "9.0"})
    with pytest.raises(ContextError, match="made by madrun 9.0, this is madrun 0.1; found plan format 2, allowed: 1"):
        repeat.read_plan(data, "p", "0.1")


@pytest.mark.parametrize("found", ["1", None, 0, True])
def test_a_format_that_never_was_is_refused(saved, found):
    with pytest.raises(ContextError, match="found plan format"):
        repeat.read_plan(resealed({**saved, "format": found}), "p", "0.1")


def test_a_job_with_parts_that_this_madrun_does_not_know_is_refused(saved):
    data = resealed(edited(saved, "job", "warmup", value=3))
    with pytest.raises(ContextError, match="whose jobs have other parts; repeat it with that version"):
        repeat.read_plan(data, "p", "0.1")


def test_a_job_of_a_wrong_type_is_refused(saved):
    data = resealed(edited(saved, "job", "nnodes", value="many"))
    with pytest.raises(ContextError, match="job.nnodes"):
        repeat.read_plan(data, "p", "0.1")


@given(st.data())
def test_no_change_of_one_value_goes_unseen(saved, data):
    paths = list(leaves(saved))
    path = data.draw(st.sampled_from(paths))
    changed = edited(saved, *path, value=data.draw(st.sampled_from(["other", 17, None, ["x"]])))
    if changed != saved:
        with pytest.raises(ContextError):
            repeat.read_plan(changed, "p", "0.1")


def leaves(value, path=()):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from leaves(inner, (*path, key))


@pytest.fixture
def two_nodes(make_job, process_node):
    nodes = (process_node, replace(process_node, node_rank=1, hostname="beta"))
    return replace(make_plan("0.1", make_job(nnodes=2), process_node), nodes=nodes)


def test_a_host_finds_its_part_by_rank_or_by_name(two_nodes):
    assert repeat.node_part(two_nodes, 1, "alpha", "p").hostname == "beta"
    assert repeat.node_part(two_nodes, None, "beta", "p").node_rank == 1
    one = make_plan("0.1", replace(two_nodes.job, nnodes=1), two_nodes.nodes[0])
    assert repeat.node_part(one, None, "elsewhere", "p").node_rank == 0


@pytest.mark.parametrize(
    ("rank", "host", "text"),
    [
        (None, "gamma", "is of 2 nodes, and 0 of them are named gamma; say which this is: .*; or start all of "),
        (2, "alpha", "NODE_RANK: found 2, but p holds the part of node 0, 1"),
    ],
)
def test_a_host_without_a_part_is_told_what_to_say(two_nodes, rank, host, text):
    with pytest.raises(ContextError, match=text):
        repeat.node_part(two_nodes, rank, host, "p")


def test_a_plan_whose_run_ended_early_holds_one_part(two_nodes):
    short = replace(two_nodes, nodes=two_nodes.nodes[:1])
    with pytest.raises(ContextError, match="node 0's plan.json holds them all, unless the run ended"):
        repeat.node_part(short, 1, "beta", "p")


@pytest.mark.parametrize(
    ("facts", "job", "gpus", "text"),
    [
        ({}, {"vendor": "amd"}, (), "made for accelerators of amd, but this host has cpu"),
        (
            {"accelerator": Accelerator(vendor="amd", gpus=(Gpu(index=0),))},
            {"vendor": "amd"},
            (0, 1),
            "uses GPU 1, but this host has 1 GPUs",
        ),
        (
            {"engine": Engine(name="podman", version="5")},
            {"runtime": "docker"},
            (),
            "the engine that answers is podman",
        ),
    ],
)
def test_a_host_that_cannot_do_it_is_refused(make_facts, make_job, process_node, facts, job, gpus, text):
    with pytest.raises(ContextError, match=text):
        repeat.check_host(make_job(**job), replace(process_node, gpus=gpus), make_facts(**facts), {})


def test_other_addresses_reach_every_variable_that_names_them(make_job, docker_node):
    moved = repeat.with_addresses(docker_node, make_job(runner="torchrun", nnodes=2), "10.0.0.9", 20001, 20002)
    assert (moved.master_addr, moved.master_port, moved.control_port) == ("10.0.0.9", 20001, 20002)
    assert moved.container.env["MASTER_PORT"] == "20001"
    assert "--master_addr 10.0.0.9 --master_port 20001" in moved.container.env["MULTI_NODE_RUNNER"]
    assert set(moved.container.env) == set(docker_node.container.env)  # none is added
    changed = repeat.changes(repeat.addresses(docker_node), repeat.addresses(moved))
    assert changed[:2] == ["MASTER_ADDR 127.0.0.1 -> 10.0.0.9", "MASTER_PORT 29501 -> 20001"]


def test_a_repeated_elastic_run_still_names_each_nodes_own_address(make_job, docker_node):
    job = replace(make_job(runner="torchrun", nnodes=2), elastic="1:2")
    moved = repeat.with_addresses(docker_node, job, "10.0.0.9", 20001, 20002, "10.0.0.7")
    assert moved.container.env["MULTI_NODE_RUNNER"].endswith(" --local_addr 10.0.0.7")


def test_words_that_a_script_was_given_for_its_runner_stay_as_they_are(make_job, docker_node):
    words = {"MAD_MULTI_NODE_RUNNER": "mine --x"}
    given = replace(docker_node, container=replace(docker_node.container, env=docker_node.container.env | words))
    job = make_job(runner="torchrun", nnodes=2, env=words)
    env = repeat.with_addresses(given, job, "10.0.0.9", 20001, 20002).container.env
    assert (env["MAD_MULTI_NODE_RUNNER"], env["MULTI_NODE_RUNNER"][:8]) == ("mine --x", "torchrun")


def test_the_files_of_a_repeated_run_belong_to_who_repeats_it(docker_node, process_node):
    moved = repeat.for_owner(docker_node, "7:8", 7)
    assert (moved.owner, moved.container.env["MADRUN_OWNER"]) == ("7:8", "7:8")
    assert moved.container.labels["madrun.owner"] == "7"
    assert repeat.for_owner(process_node, "", 7).process.env["MADRUN_OWNER"] == ""


def test_what_has_changed_on_a_host_is_named_with_both_values(make_facts):
    gpu = Gpu(index=0, model="MI300X")
    then = make_facts(accelerator=Accelerator(vendor="amd", gpus=(gpu,), driver="6.7"), kernel="6.1")
    now = make_facts(accelerator=Accelerator(vendor="amd", gpus=(gpu,) * 2, driver="6.8"), kernel="6.1", hostname="b")
    lines = repeat.changes(*(repeat.seen(to_plain(facts), True) for facts in (then, now)))
    assert lines == ["host alpha -> b", "GPUs 1 x MI300X -> 2 x MI300X", "driver 6.7 -> 6.8"]


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        (("nodes", 0, "container", "env"), {"A": "1"}, "nodes.0.env.MADRUN_RUN_ID: is missing or empty"),
        (("nodes", 0, "container", "env", "MADRUN_RUN_ID"), "", "nodes.0.env.MADRUN_RUN_ID: is missing or empty"),
        (("nodes", 0, "container", "mounts"), [], "container.mounts: found nothing at /madrun"),
        (("nodes", 0, "container", "mounts", 0, "source"), "/box", "container.mounts: found .'/box'. at /madrun"),
        (("nodes", 0, "container", "entrypoint"), [], "nodes.0.command: is empty"),
        (("nodes", 0, "container"), None, "found none with runtime docker, allowed: a container alone"),
        (("job", "runtime"), "process", "found container with runtime process, allowed: a process alone"),
        (
            ("job", "runner"),
            "x",
            "job.runner: found 'x', allowed: accelerate, deepspeed, mpirun, plain, script, torchrun",
        ),
        (("job", "vendor"), "x", "job.vendor: found 'x', allowed: amd, cpu, nvidia"),
        (("job", "script"), "", "job.script: found ''"),
        (("job", "nnodes"), 0, "job.nnodes: found 0"),
        (("job", "timeout_s"), float("nan"), "job.timeout_s: found nan, allowed: seconds >= 0"),
        (("job", "grace_s"), float("inf"), "job.grace_s: found inf"),
        (("job", "lease_s"), -1.0, "job.lease_s: found -1.0"),
        (("job", "image", "kind"), "none", "job.image: found none with runtime docker"),
        (("job", "image", "kind"), "build", "job.image.dockerfile: found ''"),
        (("nodes", 0, "master_port"), 99999, "nodes.0.master_port: found 99999, allowed: 1 to 65535"),
        (("nodes", 0, "node_rank"), 1, "nodes: found node_rank 1"),
        (("nodes",), [], "nodes: found none"),
    ],
)
def test_a_resealed_plan_that_could_not_be_executed_is_refused(saved, path, value, text):
    with pytest.raises(ContextError, match=text):
        repeat.read_plan(resealed(edited(saved, *path, value=value)), "p", "0.1")


@given(st.data())
def test_a_resealed_plan_is_read_or_refused_and_nothing_else(saved, data):
    path = data.draw(st.sampled_from(list(leaves(saved))))
    values = ["", "x", 0, -1, 10**9, 0.5, float("nan"), True, None, [], ["x"], {}, {"x": "y"}, [{}]]
    changed = edited(saved, *path, value=data.draw(st.sampled_from(values)))
    with contextlib.suppress(ContextError):
        plan = repeat.read_plan(resealed(changed), "p", "0.1")
        assert bind(plan.node, RUN_ID, RUN_DIR).node_rank == 0


def test_a_process_without_its_own_directory_is_refused(make_job, process_node):
    process = replace(process_node.process, workdir="/tmp")
    plan = make_plan("0.1", make_job(), replace(process_node, process=process))
    with pytest.raises(ContextError, match="process.workdir: found '/tmp'"):
        repeat.read_plan(json.loads(to_json(sealed(plan))), "p", "0.1")


def test_an_image_is_compared_by_its_identity(saved):
    assert repeat.image_change("", "recipe:a", "sha256:1") == ""  # not known then
    assert repeat.image_change("recipe:a", "recipe:a", "sha256:2") == ""
    assert repeat.image_change("sha256:1", "recipe:a", "sha256:1") == ""  # an older record holds the id
    assert repeat.image_change("recipe:" + "a" * 64, "recipe:" + "b" * 64, "") == (
        "image recipe:aaaaaaaaaaaa -> recipe:bbbbbbbbbbbb"
    )


def test_a_base_that_is_another_image_today_is_named():
    then = {"b:1": "sha256:" + "1" * 64, "c": "sha256:2", "gone": "sha256:3"}
    now = {"b:1": "sha256:" + "9" * 64, "c": "sha256:2"}
    assert repeat.base_changes(then, now) == ["base b:1 sha256:111111111111 -> sha256:999999999999"]


def test_data_that_changed_is_named(make_facts):
    then, now = (make_facts(data={"set": f"{count} files"}) for count in (1, 2))
    lines = repeat.changes(*(repeat.seen(to_plain(facts), True) for facts in (then, now)))
    assert lines == ["data set 1 files -> 2 files"]


def test_what_was_not_known_then_is_no_change(make_facts):
    now = repeat.seen(to_plain(make_facts(engine=Engine(name="docker", version="27"))), True)
    assert repeat.changes({}, now) == []
    assert repeat.changes({"engine": "docker 20"}, now) == ["engine docker 20 -> docker 27"]
    assert repeat.changes({"driver": "570"}, now) == ["driver 570 -> none"]


@pytest.mark.parametrize("kind", ["build", "ready", "none"])
def test_the_card_of_a_job_means_its_files_and_its_image(make_job, process_node, kind):
    job = make_job()
    args = {"BASE_DOCKER": "b", "X": "1"} if kind == "build" else {}
    image = replace(job.image, kind=kind, name="n", build_args=args, base=args.get("BASE_DOCKER", ""))
    card = repeat.card_of(replace(job, image=image), process_node, "plan.json", "cpu.Dockerfile")
    source = card.images["cpu"]
    assert (card.name, card.folder, card.files) == ("one", "/repo/models/one", ())
    assert (source.dockerfile, source.base, source.args) == (
        ("cpu.Dockerfile", "b", {"X": "1"}) if kind == "build" else (None, None, {})
    )


def test_an_adapter_that_is_slower_or_down_since_is_a_change(make_facts):
    def host(*ports):
        hcas = tuple(Hca(name=f"mlx5_{index}", ports=(port,)) for index, port in enumerate(ports))
        return repeat.seen(to_plain(make_facts(hcas=hcas)), True)

    fast = HcaPort(number=1, state="ACTIVE", rate=400)
    then, now = host(fast, fast), host(replace(fast, rate=200), replace(fast, state="DOWN"))
    assert repeat.changes(then, now) == ["RDMA mlx5_0 400 Gb/s, mlx5_1 400 Gb/s -> mlx5_0 200 Gb/s, mlx5_1 DOWN"]
    older = to_plain(make_facts())
    del older["hcas"]  # a record of before they were looked at
    assert "RDMA" not in repeat.seen(older, True)
