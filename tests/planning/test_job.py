"""The job part of a plan: what is the same on every node, and hashed."""

from dataclasses import replace

import pytest

from madrun.errors import CardError
from madrun.planning.job import CardFacts, choose_runtime, plan_image, plan_job, summary
from madrun.spec.card import Card, ImageSource, Metric
from madrun.spec.codec import sha256
from madrun.spec.context import Context
from madrun.spec.data import Source
from madrun.spec.facts import Accelerator, Engine, Gpu

CARD = Card(
    name="one",
    folder="/r/models/one",
    repository="/r",
    source="/r/models/one/model.yaml:1",
    script="run.sh",
    args="--x 1",
    images={"cpu": ImageSource(dockerfile="cpu.Dockerfile", base="python:3", args={"X": "1"})},
    data=("corpus", "weights"),
    metrics={"tok": Metric(unit="tok/s")},
    multiple_results="out.csv",
)
FILES = CardFacts(
    script_hash="abc",
    files=("run.sh",),
    dockerfile="models/docker/Cpu.Dockerfile",
    dockerfile_text="ARG BASE_DOCKER\nFROM ${BASE_DOCKER}",
    context="models/docker",
    context_hash="def",
    data=(
        Source(name="corpus", provider="local", path="/nfs/corpus"),
        Source(name="weights", provider="minio", path="/c/weights", home="/weights", writable=True),
    ),
)
DOCKER = Engine(name="docker", version="27")


def planned(make_facts, make_topology, context=None, card=CARD, secrets=frozenset(), files=FILES):
    facts = make_facts(engine=DOCKER)
    return plan_job(card, context or Context(), facts, make_topology(), files, secrets)


def test_docker_is_chosen_where_an_engine_answers(make_facts):
    assert choose_runtime(Context(), make_facts(engine=DOCKER)) == ("docker", "")
    assert choose_runtime(Context(runtime="process"), make_facts(engine=DOCKER)) == ("process", "")


def test_the_process_runtime_is_chosen_where_none_answers_and_says_why(make_facts):
    runtime, why = choose_runtime(Context(), make_facts(engine_absent="nobody listens"))
    assert runtime == "process"
    assert "nobody listens" in why


def test_podman_that_answers_in_the_place_of_docker_is_called_by_its_name(make_facts):
    engine = Engine(name="podman", version="5", host="unix:///run/docker.sock")
    runtime, why = choose_runtime(Context(runtime="docker"), make_facts(engine=engine))
    assert runtime == "podman"
    assert "podman is what answers at unix:///run/docker.sock" in why


def test_a_missing_image_for_the_accelerator_lists_those_there_are(make_facts, make_topology):
    facts = make_facts(engine=DOCKER, accelerator=Accelerator(vendor="amd", gpus=(Gpu(index=0), Gpu(index=1))))
    with pytest.raises(CardError, match=r"model.yaml:1: images: none for amd.*the card has: cpu.*MAD_CONTAINER_IMAGE"):
        plan_job(CARD, Context(), facts, make_topology(), FILES, frozenset())


def test_a_recipe_is_a_hash_of_dockerfile_context_and_arguments():
    def recipe(context=None, **changes):
        return plan_image(CARD, context or Context(), "cpu", replace(FILES, **changes)).recipe

    base = recipe()
    assert recipe() == base
    changed = [
        recipe(dockerfile_text="FROM y"),
        recipe(context_hash="other"),
        recipe(Context(docker_build_arg={"X": "2"})),
    ]
    assert len({base, *changed}) == 4


def test_an_image_to_build_is_named_after_its_dockerfile_and_recipe():
    image = plan_image(CARD, Context(docker_build_arg={"BASE_DOCKER": "mine:1"}), "cpu", FILES)
    assert image.kind == "build"
    assert image.name == f"madrun/cpu:{image.recipe[:12]}"
    assert (image.dockerfile, image.context, image.base) == ("Cpu.Dockerfile", "models/docker", "mine:1")
    assert image.build_args == {"BASE_DOCKER": "mine:1", "X": "1"}


def test_an_image_of_the_context_needs_none_of_the_card():
    image = plan_image(replace(CARD, images={}), Context(MAD_CONTAINER_IMAGE="ready:1"), "amd", FILES)
    assert (image.kind, image.name) == ("ready", "ready:1")


def test_the_environment_of_the_job_holds_sizes_and_the_users_words(make_facts, make_topology):
    job = planned(make_facts, make_topology, Context(docker_env_vars={"NCCL_DEBUG": "INFO"}))
    assert job.env == {
        "MAD_GPU_VENDOR": "CPU",
        "MAD_MODEL_NAME": "one",
        "MAD_OUTPUT_CSV": "out.csv",
        "MAD_RUNTIME_NGPUS": "2",
        "NCCL_DEBUG": "INFO",
        "NNODES": "2",
        "NPROC_PER_NODE": "2",
        "PYTHONUNBUFFERED": "1",
        "WORLD_SIZE": "4",
    }


def test_interfaces_that_variables_name_are_each_nodes_own_and_no_part_of_the_job(make_facts, make_topology):
    jobs = [
        planned(make_facts, make_topology, Context(docker_env_vars={"NCCL_SOCKET_IFNAME": name, "A": "1"}))
        for name in ("ib0", "ib1")
    ]
    assert jobs[0] == jobs[1]
    assert jobs[0].env["A"] == "1"


def test_a_secret_is_in_the_job_by_name_alone(make_facts, make_topology):
    context = Context(docker_env_vars={"HF_TOKEN": "hf_very_secret", "A": "1"})
    job = planned(make_facts, make_topology, context, secrets=frozenset({"HF_TOKEN"}))
    assert job.secrets == ("HF_TOKEN",)
    assert "hf_very_secret" not in repr(job)
    assert job.env["A"] == "1"


def test_model_args_replace_the_cards(make_facts, make_topology):
    assert planned(make_facts, make_topology).args == "--x 1"
    job = planned(make_facts, make_topology, Context(model_args=""))
    assert job.args == ""
    assert "--x 1" not in job.driver


@pytest.mark.parametrize(("given", "seconds"), [(None, 7200.0), (0, 0.0), ("1h30m", 5400.0), (90, 90.0)])
def test_the_time_limit_is_the_given_one_or_two_hours(make_facts, make_topology, given, seconds):
    assert planned(make_facts, make_topology, Context(timeout=given)).timeout_s == seconds


def test_each_data_source_has_a_home_of_its_own(make_facts, make_topology):
    job = planned(make_facts, make_topology)
    assert [(item.name, item.home) for item in job.data] == [("corpus", "/data_dlm_0"), ("weights", "/weights_1")]
    assert [item.writable for item in job.data] == [False, True]


def test_the_job_hash_does_not_see_addresses_ports_and_rank(make_facts, make_topology):
    def hashed(**changes):
        return sha256(
            plan_job(CARD, Context(), make_facts(engine=DOCKER), make_topology(**changes), FILES, frozenset())
        )

    moved = hashed(node_rank=0, master_addr="10.1.1.1", master_port=1, control_port=2, nccl_ifname="=x")
    assert moved == hashed()
    assert hashed(nnodes=3) != hashed()


def test_the_summary_names_every_part_that_two_jobs_can_differ_in(make_facts, make_topology):
    job = planned(make_facts, make_topology)
    for field, other in (
        ("args", "--x 2"),
        ("script_hash", "other"),
        ("env", {}),
        ("metrics", {}),
        ("timeout_s", 1.0),
        ("stall_timeout_s", 7.0),
        ("lease_s", 99.0),
        ("nproc_per_node", 3),
        ("driver", "x"),
        ("secrets", ("A",)),
        ("tags", ("other",)),
        ("data", ()),
        ("training_precision", "fp7"),
        ("image", replace(job.image, recipe="x")),
    ):
        mine, theirs = summary(job), summary(replace(job, **{field: other}))
        assert mine != theirs or getattr(job, field) == other, field


def test_the_summary_says_durations_as_values_and_secrets_by_name_alone(make_job):
    parts = summary(
        make_job(timeout_s=5400.0, stall_timeout_s=0.0, secrets=("HF_TOKEN",), env={"OMP_NUM_THREADS": "8"})
    )
    assert (parts["timeout"], parts["stall_timeout"]) == ("1h30m", "none")
    assert (parts["secret HF_TOKEN"], parts["variable OMP_NUM_THREADS"]) == ("set", "8")


def test_the_summary_says_words_of_the_runner_as_they_are_typed(make_job):
    assert summary(make_job(runner_args=("--tag-output", "-x", "A=b")))["runner_args"] == "--tag-output -x A=b"
    assert summary(make_job())["runner_args"] == ""


def test_many_variables_are_compared_by_one_hash(make_job):
    env = {f"V{index:03}": "1" for index in range(200)}
    parts = summary(make_job(env=env))
    assert len(parts) < 100
    assert parts != summary(make_job(env=env | {"V199": "2"}))


def test_a_long_part_is_cut_in_the_summary_and_still_differs(make_job):
    first, second = (summary(make_job(args="x" * 200 + end))["args"] for end in "ab")
    assert len(first) < 80
    assert first != second


def test_a_secret_build_argument_is_in_the_image_by_name_alone():
    def image(**arguments):
        return plan_image(CARD, Context(docker_build_arg=arguments), "cpu", FILES)

    made = image(HF_TOKEN="hf_very_secret", X="2")
    assert made.build_args == {"BASE_DOCKER": "python:3", "HF_TOKEN": "{secret}", "X": "2"}
    assert image(HF_TOKEN="another", X="2").recipe == made.recipe
    assert image(X="2").recipe != made.recipe


def test_a_secret_build_argument_of_the_card_is_in_the_image_by_name_alone():
    source = ImageSource(dockerfile="d", args={"API_KEY": "k3y"})
    files = replace(FILES, dockerfile_text="FROM x")
    image = plan_image(replace(CARD, images={"cpu": source}), Context(), "cpu", files)
    assert image.build_args == {"API_KEY": "{secret}"}


def test_the_base_is_what_the_last_stage_begins_from_whatever_the_card_says():
    text = "ARG BASE_DOCKER=x\nFROM builder:1 AS b\nFROM mine:${BASE_DOCKER}\nCOPY --from=b / /\n"
    image = plan_image(
        CARD, Context(docker_build_arg={"BASE_DOCKER": "7"}), "cpu", replace(FILES, dockerfile_text=text)
    )
    assert image.base == "mine:7"


def test_a_base_without_a_value_is_an_error_of_the_card_with_the_line():
    card = replace(CARD, images={"cpu": ImageSource(dockerfile="d")})
    files = replace(FILES, dockerfile_text="ARG X\nFROM ${X}\n")
    with pytest.raises(CardError, match=r"Cpu.Dockerfile: line 2: FROM needs the build argument X.*docker_build_arg"):
        plan_image(card, Context(), "cpu", files)


@pytest.mark.parametrize(
    ("context", "args"),
    [
        (Context(more_args=("--x 1", "'y z'")), " --x 1 'y z'"),
        (Context(model_args="--new", more_args=("--x",)), "--new --x"),
        (Context(model_args="--new"), "--new"),
    ],
)
def test_more_args_come_after_the_cards_or_what_replaces_them(make_facts, make_topology, context, args):
    before = planned(make_facts, make_topology, Context()).args if context.model_args is None else ""
    job = planned(make_facts, make_topology, context)
    assert job.args == before + args
    assert job.args in job.driver
