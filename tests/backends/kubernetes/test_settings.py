"""Settings of Kubernetes out of the context's words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.backends.kubernetes.madkeys import from_mad, unused
from madrun.backends.kubernetes.settings import read
from madrun.errors import ContextError


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"namspace": "a"}, "kubernetes.namspace: unknown key .did you mean 'namespace'"),
        ({"gpus_per_node": "many"}, "kubernetes.gpus_per_node: found 'many'"),
        ({"gpus_per_node": -1}, "kubernetes.gpus_per_node: found -1"),
        ({"namespace": "A_b"}, "kubernetes.namespace: found 'A_b', allowed: small letters"),
        ({"pull_policy": "always"}, "kubernetes.pull_policy: found 'always'"),
        ({"memory": "64GB"}, "kubernetes.memory: found '64GB' .did you mean '64Gi'"),
        ({"ttl": "a while"}, "kubernetes.ttl: "),
        ({"ttl": -1.5}, "kubernetes.ttl: found -1.5, allowed: no less than 60 s"),
        ({"ttl": -1}, "kubernetes.ttl: "),
        ({"secrets": {"HF_TOKEN": "hf"}}, "kubernetes.secrets.HF_TOKEN: found 'hf', allowed: SECRET/KEY"),
        ({"data_claims": {"corpus": "data"}}, "kubernetes.data_claims.corpus: found 'data', allowed: an absolute"),
        ({"data_claims": {"corpus": "/madrun/work"}}, "not below /madrun"),
        (
            {"data_claims": {"corpus": "/data", "more": "/data"}},
            "data_claims.more: found '/data', allowed: an absolute",
        ),
        ({"pull_secrets": ["Reg_cred"]}, "kubernetes.pull_secrets: found 'Reg_cred'"),
        ({"deadline": 0}, "kubernetes.deadline: found 0.0, allowed: no less than 1 s"),
        ({"repository": "models"}, "kubernetes.repository: found 'models', allowed: carry, or an absolute"),
        ({"vendor": "amd", "gpu_resource": "nvidia.com/gpu"}, "kubernetes.vendor: found amd beside"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_allowed(values, text):
    with pytest.raises(ContextError, match=text):
        read(values, 2)


def test_names_of_objects_may_have_dots_and_paths_may_begin_alike():
    said = {"results_claim": "team.results", "priority_class": "high.v2", "data_claims": {"corpus": "/madrun-data"}}
    assert read(said, 2)[0].results_claim == "team.results"


def test_all_that_is_wrong_is_told_at_once():
    with pytest.raises(ContextError) as caught:
        read({"cpus": "four", "queue": "Q", "unreachable": -2}, 2)
    assert str(caught.value).count("kubernetes.") == 3


def test_spellings_of_existing_repositories_are_understood():
    said = {
        "namespace": "bench",
        "kubeconfig": "~/.kube/config",
        "gpu_count": 2,
        "gpu_resource_name": "amd.com/gpu",
        "gpu_vendor": "AMD",
        "cpu": 8,
        "memory": "128Gi",
        "memory_limit": "256Gi",
        "image_pull_policy": "Always",
        "backoff_limit": 3,
        "node_selector": {"pool": "mi300"},
        "tolerations": [],
        "data_pvc": "corpus",
        "nfs_storage_class": "nfs-banff",
        "allow_privileged_profiling": True,
        "secrets": {"strategy": "existing", "image_pull_secret_names": ["regcred"]},
    }
    settings, nnodes = read(said, 3)
    assert nnodes == 3
    assert (settings.gpus_per_node, settings.gpu_resource, settings.vendor) == (2, "amd.com/gpu", "amd")
    assert (settings.cpus, settings.memory, settings.pull_policy) == ("8", "128Gi", "Always")
    assert settings.data_claims == {"corpus": "/data"} and settings.privileged
    assert settings.pull_secrets == ("regcred",) and settings.secrets == {}
    assert unused(said) == ["backoff_limit", "nfs_storage_class"]


@given(st.dictionaries(st.sampled_from(["gpu_count", "gpus_per_node", "cpu", "cpus"]), st.integers(0, 9)))
def test_madruns_own_key_wins_over_another_spelling(values):
    found = from_mad(values)
    for own, other in {"gpus_per_node": "gpu_count", "cpus": "cpu"}.items():
        if own in values or other in values:
            assert found[own] == values.get(own, values.get(other))
        assert other not in found


def test_durations_are_whole_seconds_rounded_up():
    settings, _ = read({"ttl": "60.2s", "deadline": "2h", "unreachable": 0.1}, None)
    assert (settings.seconds("ttl"), settings.seconds("deadline"), settings.seconds("unreachable")) == (61, 7200, 1)
    assert settings.seconds("pending_timeout") is None
