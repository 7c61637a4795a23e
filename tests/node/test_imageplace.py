"""The place of images: a docker client for BuildKit is looked for only when one is needed."""

from madrun.node.imageplace import image_place
from madrun.runtimes.images import BuildKitClient
from madrun.spec.facts import Engine


def test_a_client_is_looked_for_when_it_is_needed_and_for_this_engine(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(
        "madrun.probe.buildkit.client_program", lambda host: asked.append(host) or ("/bin/d", {"A": "1"})
    )
    place = image_place("client", Engine(name="docker", version="1", host="unix:///x.sock"), tmp_path)
    assert asked == []
    assert place.buildkit() == BuildKitClient(program="/bin/d", env={"A": "1"})
    assert asked == ["unix:///x.sock"]
    monkeypatch.setattr("madrun.probe.buildkit.client_program", lambda host: None)
    assert place.buildkit() is None
