"""Which cluster is asked, by whom, and in which namespace."""

import pytest

from madrun.backends.kubernetes import cluster as clusters
from madrun.backends.kubernetes.cluster import check_rights, connect
from madrun.backends.kubernetes.refused import Away
from madrun.backends.kubernetes.settings import read
from madrun.errors import UsageError

pytestmark = pytest.mark.slow


def test_the_namespace_is_the_one_that_is_said_else_that_of_the_configuration(cluster):
    assert connect(read({"kubeconfig": str(cluster.kubeconfig)}, 2)[0]).namespace == "default"
    assert connect(read({"kubeconfig": str(cluster.kubeconfig), "namespace": "bench"}, 2)[0]).namespace == "bench"


def test_a_pod_that_launches_does_so_in_its_own_namespace(tmp_path, monkeypatch):
    from kubernetes.config import incluster_config

    for name in ("token", "ca.crt", "namespace"):
        (tmp_path / name).write_text("team\n")
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "nothing"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "1")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    monkeypatch.setattr(clusters, "OWN_NAMESPACE", tmp_path / "namespace")
    monkeypatch.setattr("kubernetes.client.ApiClient", lambda setup: setup)
    monkeypatch.setattr(clusters, "Cluster", lambda _client, namespace: namespace)
    assert connect(read({}, 2)[0]) == "team"


def test_a_configuration_that_is_wrong_is_told_with_what_is_wrong_with_it(tmp_path, monkeypatch):
    file = tmp_path / "kubeconfig"
    file.write_text("apiVersion: v1\nkind: Config\ncurrent-context: gone\ncontexts: []\nclusters: []\nusers: []\n")
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(file))
    with pytest.raises(UsageError, match="found no usable configuration of a cluster: .*gone"):
        connect(read({}, 2)[0])


def test_a_server_that_is_away_is_asked_for_rights_once(cluster):
    found = connect(read({"kubeconfig": str(cluster.kubeconfig)}, 2)[0])
    asked = []
    found._rights.create_self_subject_access_review = lambda *_words, **_more: asked.append(1) or _away()
    with pytest.raises(Away, match="does not answer"):
        check_rights(found, False)
    assert len(asked) == 1


def _away():
    raise OSError("no route to host")
