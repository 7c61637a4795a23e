"""Keys that mean nothing to a run typed on its node are named."""

import pytest

from madrun.planning.mad.unheard import unheard
from madrun.spec.card import Card
from madrun.spec.context import Context
from madrun.spec.mad import MadCard


def card(mad=True, script="run.sh", **changes):
    more = MadCard(short="one", dockerfile="d", **changes) if mad else None
    return Card(name="one", folder="/r", repository="/r", source="m.json", script=script, mad=more)


def notes(runtime="docker", vendor="cpu", one=None, **context):
    return unheard(one or card(), Context(**context), runtime, vendor)


@pytest.mark.parametrize(
    "context",
    [
        {"slurm": {"partition": "x"}},
        {"k8s": {"namespace": "x"}},
        {"kubernetes": {"namespace": "x"}},
        {"vllm": {"a": 1}},
        {"deployment_config": {"target": "x"}},
        {"shared_data": True},
        {"monitor": False},
        {"cleanup_on_failure": True},
        {"debug": True},
        {"env_vars": {"A": "b"}},
        {"numa_balancing": False},
        {"host_os": "HOST_UBUNTU"},
        {"gpu_vendor": "AMD"},
        {"gpu_renderDs": (1,)},
        {"rocm_path": "/opt/rocm"},
        {"MAD_ROCM_PATH": "/opt/rocm"},
    ],
    ids=lambda context: next(iter(context)),
)
def test_a_key_that_has_no_effect_here_is_named(context):
    found = notes(**context)
    assert len(found) == 1
    assert next(iter(context)) in found[0]


def test_keys_that_count_are_not_named():
    assert notes() == ()
    counting = {"slurm": {"gpus_per_node": 2}, "k8s": {"gpu_count": 2}, "env_vars": {"DOCKER_IMAGE_NAME": "x"}}
    assert notes(**counting, distributed={"launcher": "vllm"}) == ()
    assert notes(vendor="amd", gpu_vendor="AMD", rocm_path="/opt/rocm", gpu_renderDs=(1,)) == ()


def test_the_rocm_of_the_host_is_no_word_for_the_container():
    assert "rocm_path the container's" in notes(vendor="amd", MAD_ROCM_PATH="/opt/rocm-7")[0]


def test_variables_of_the_card_that_reach_jobs_of_slurm_alone_are_named():
    assert "env_vars (A) reach jobs of SLURM alone" in notes(one=card(env_vars={"A": "b"}))[0]


def test_without_a_container_its_options_are_named():
    given = {"additional_docker_run_options": "--init", "docker_cpus": "0", "shm_size": "1g"}
    (found,) = notes(runtime="process", **given)
    assert all(key in found for key in given)


def test_a_script_for_slurm_says_that_it_runs_on_the_host():
    found = unheard(card(script="go.slurm"), Context(runtime="process"), "process", "cpu")
    assert "go.slurm runs on this host itself" in found[0]


def test_a_native_card_knows_none_of_mads_keys():
    given = {"SHM_SIZE": "1g", "n_gpus": 2, "distributed": {"launcher": "x"}, "debug": True, "guest_os": "X"}
    found = unheard(card(mad=False), Context(**given), "docker", "cpu")
    assert sorted(note.split()[0] for note in found) == sorted(given)
    assert unheard(card(mad=False), Context(), "docker", "cpu") == ()


def test_what_launches_read_is_pointed_to_where_nothing_was_launched():
    context = Context(slurm={"partition": "x"}, k8s={"namespace": "y"})
    found = unheard(card(), context, "docker", "cpu")
    assert "slurm (partition) counts with --on slurm, not for a run typed on this node" in found
    assert "k8s (namespace) counts with --on kubernetes, not for a run typed on this node" in found
    assert unheard(card(), context, "docker", "cpu", launched=True) == ()


def test_a_site_file_may_say_for_native_cards_too_what_launches_read():
    assert unheard(card(mad=False), Context(slurm={"partition": "x"}), "docker", "cpu") == ()
