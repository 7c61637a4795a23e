"""What is rendered, letter by letter, against the schemas of Kubernetes and the models of JobSet."""

import pytest

from madrun.backends.kubernetes.names import object_name
from madrun.backends.kubernetes.payload import PIECE, Payload
from madrun.backends.kubernetes.pods import PAYLOAD
from madrun.backends.kubernetes.render import load, render, render_with
from madrun.backends.kubernetes.settings import read
from madrun.errors import ContextError, UsageError

ALL = {
    "namespace": "bench",
    "kube_context": "prod",
    "image": "registry.example/one:2",
    "pull_policy": "Always",
    "pull_secrets": ["regcred"],
    "gpus_per_node": 8,
    "vendor": "nvidia",
    "cpus": "64",
    "memory": "512Gi",
    "shm_size": "64Gi",
    "privileged": True,
    "user": 1000,
    "host_network": True,
    "rdma_resource": {"rdma/hca": 8},
    "node_selector": {"pool": "h100"},
    "tolerations": [{"key": "bench", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}]}}},
    "priority_class": "high",
    "queue": "gpus",
    "service_account": "bench",
    "labels": {"team": "perf"},
    "annotations": {"example.com/note": "two words"},
    "data_claims": {"corpus": "/data"},
    "results_claim": "results",
    "secrets": {"HF_TOKEN": "hf/token"},
    "ttl": "2h",
    "deadline": "1h",
    "unreachable": 10,
    "madrun": "installed",
    "repository": "/opt/models",
}  # fmt: skip


@pytest.fixture
def rendered(launch):
    """The files of a launch with these settings; nothing is read from this host."""

    def make(payload=None, nnodes=2, **settings):
        found = launch(backend="kubernetes", settings=settings, nnodes=nnodes)
        return render_with(found, read(settings, nnodes)[0], payload or Payload())

    return make


FORMS = {"plain": {}, "all": ALL, "jobset": {"jobset": True, "namespace": "bench"}}


@pytest.mark.parametrize("form", FORMS)
def test_the_files_of_a_launch_are_the_golden_ones(rendered, golden, form):
    golden(form, rendered(**FORMS[form]))


def test_a_rendering_never_holds_a_private_value(rendered):
    for text in rendered(**ALL).values():
        assert "MADRUN_SECRET" not in text


@pytest.mark.slow
@pytest.mark.parametrize("version", ["1.25.0", "1.29.0", "1.31.0", "1.37.0"])
@pytest.mark.parametrize("form", ["plain", "all"])
def test_the_schemas_of_kubernetes_take_every_object(rendered, form, version):
    import kubernetes_validate

    for one in load(rendered(Payload({"madrun": b"1", "repository": b"2"}), **FORMS[form])["kubernetes.yaml"]):
        kubernetes_validate.validate(one, version, strict=True)


@pytest.mark.slow
def test_the_schemas_of_kubernetes_take_what_is_carried_and_would_refuse_an_unknown_field(rendered):
    import kubernetes_validate

    files = rendered(Payload({"madrun": b"x" * 10, "repository": b"y"}))
    for name, kind in {"payload.json": "ConfigMap", "private-payload.json": "Secret"}.items():
        (one,) = load(files[name])[0]["items"]
        assert one["kind"] == kind
        kubernetes_validate.validate(one, "1.37.0", strict=True)
    job = next(one for one in load(files["kubernetes.yaml"]) if one["kind"] == "Job")
    job["spec"]["template"]["spec"]["restartPolic"] = "Never"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, "1.37.0", strict=True)


@pytest.mark.slow
def test_the_models_of_jobset_take_the_jobset_and_know_every_field_of_it(rendered):
    from kubeflow_trainer_api import models

    for settings in (FORMS["jobset"], {**ALL, "jobset": True}):
        (one,) = (one for one in load(rendered(**settings)["kubernetes.yaml"]) if one["kind"] == "JobSet")
        again = models.JobsetV1alpha2JobSet.from_dict(one).to_dict()
        assert _without(one, again) == []


def _without(given, taken, path=""):
    """Paths of what was given that did not come back: unknown fields are dropped in silence by the models."""
    if isinstance(given, dict):
        lost = [f"{path}.{key}" for key in given if key not in taken]
        return lost + [
            one for key in given if key in taken for one in _without(given[key], taken[key], f"{path}.{key}")
        ]
    if isinstance(given, list):
        return [one for first, second in zip(given, taken, strict=True) for one in _without(first, second, path)]
    return []


@pytest.mark.parametrize("jobset", [False, True])
def test_all_of_a_pod_fits_together(rendered, jobset):
    (one,) = [
        one for one in load(rendered(jobset=jobset, nnodes=3)["kubernetes.yaml"]) if one["kind"] in ("Job", "JobSet")
    ]
    name = one["metadata"]["name"]
    spec = one["spec"]["replicatedJobs"][0]["template"]["spec"] if jobset else one["spec"]
    pod = spec["template"]["spec"]
    container = pod["containers"][0]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    assert pod["subdomain"] == name and spec["completions"] == spec["parallelism"] == 3
    env = {item["name"]: item.get("value") for item in container["env"]}
    host = f"{name}-nodes-0-0" if jobset else f"{name}-0"
    assert env["MADRUN_MASTER_ADDR"] == f"{host}.{name}.$(MADRUN_NAMESPACE).svc"
    assert container["env"][0]["name"] == "MADRUN_NAMESPACE", "a variable is expanded in those after it alone"


def test_gpus_are_limits_that_equal_their_requests(rendered):
    job = load(rendered(image="x", vendor="amd", gpus_per_node=4)["kubernetes.yaml"])[-1]
    resources = job["spec"]["template"]["spec"]["containers"][0]["resources"]
    assert resources == {"limits": {"amd.com/gpu": "4"}, "requests": {"amd.com/gpu": "4"}}


def test_what_is_carried_is_cut_into_objects_that_the_api_takes(rendered):
    files = rendered(Payload({"madrun": b"x" * (PIECE + 1), "repository": b"y"}))
    import base64
    import json

    pieces = json.loads(files["payload.json"])["items"]
    assert [len(base64.b64decode(piece)) for one in pieces for piece in one["binaryData"].values()] == [PIECE, 1]
    job = load(files["kubernetes.yaml"])[-1]
    volume = next(one for one in job["spec"]["template"]["spec"]["volumes"] if one["name"] == "payload")
    kinds = [next(iter(source)) for source in volume["projected"]["sources"]]
    assert kinds == ["configMap", "configMap", "secret"]
    mount = job["spec"]["template"]["spec"]["containers"][0]["volumeMounts"][-1]
    assert mount == {"name": "payload", "mountPath": PAYLOAD, "readOnly": True}


def test_an_image_that_has_to_be_built_first_is_an_error_that_says_how(launch):
    found = launch(backend="kubernetes", images={"nvidia": ""})
    with pytest.raises(ContextError, match="kubernetes.image: is missing.*madrun build"):
        render_with(found, read({"vendor": "nvidia", "gpus_per_node": 1}, 2)[0], Payload())


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"image": "x", "vendor": "nvidia"}, "kubernetes.gpus_per_node: is missing"),
        ({"gpus_per_node": 2}, "kubernetes.gpus_per_node: found 2, but example/one:1 is for cpu"),
        ({"tolerations": [{"key": "a", "operator": "Exist"}]}, "found 'Exist' .did you mean 'Exists'"),
        ({"tolerations": [{"key": "a", "effects": "NoExecute"}]}, "unknown key 'effects' .did you mean 'effect'"),
        ({"affinity": {"nodeAffinty": {}}}, "unknown key 'nodeAffinty' .did you mean 'nodeAffinity'"),
        ({"node_selector": {"pool": "a b"}}, "nodeSelector.pool: found 'a b'"),
        ({"labels": {"te am": "x"}}, "found the key 'te am'"),
        ({"secrets": {"A B": "s/k"}}, "found 'A B', allowed: a variable's name"),
    ],
)
def test_what_the_api_would_refuse_is_refused_here(rendered, settings, text):
    with pytest.raises(ContextError, match=text):
        rendered(**settings)


def test_files_that_no_config_map_takes_are_an_error(launch):
    found = launch(backend="kubernetes", files={"plan.json": "x" * (1 << 20)})
    with pytest.raises(UsageError, match=r"the files of the launch hold \d+ bytes, most of them plan.json"):
        render_with(found, read({}, 2)[0], Payload())


def test_a_repository_that_is_too_large_is_an_error_that_names_the_largest_file(launch, tmp_path, monkeypatch):
    from madrun.backends.kubernetes import payload

    (tmp_path / "big.bin").write_bytes(b"x" * 3000)
    monkeypatch.setattr(payload, "_UNPACKED", 2000)
    found = launch(backend="kubernetes", repository=str(tmp_path), settings={})
    with pytest.raises(UsageError, match=r"its largest file is big.bin.*kubernetes.exclude"):
        render(found, read({"madrun": "installed"}, 2)[0])


def test_a_launch_on_ten_thousand_nodes_is_rendered_like_any_other(rendered):
    job = load(rendered(nnodes=10_000)["kubernetes.yaml"])[-1]
    assert job["spec"]["completions"] == 10_000
    assert len(f"{job['metadata']['name']}-9999-abcde") <= 63


@pytest.mark.parametrize("nnodes", [1, 10, 10_000])
@pytest.mark.parametrize("jobset", [False, True])
def test_names_are_labels_with_room_for_what_the_controllers_add(nnodes, jobset):
    long = object_name("20261121T000000Z-" + "a.B_c" * 30 + "-a1b2c3", nnodes, jobset)
    other = object_name("20261121T000000Z-" + "a.B_c" * 30 + "-a1b2c4", nnodes, jobset)
    assert long != other and long.islower() and long[0].isalpha() and long[-1].isalnum()
    added = f"{'-nodes-0' if jobset else ''}-{nnodes - 1}-abcde"
    assert len(long + added) <= 63
