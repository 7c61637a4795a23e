"""--manifest-file: which accelerators an image of it is for, and files that cannot be read."""

import json
from types import SimpleNamespace

import pytest

from madrun.cli.imagepolicy import policy_of
from madrun.cli.manifest import read_given
from madrun.cli.request import RepositoryOptions
from madrun.errors import UsageError
from madrun.registry.catalogue import Catalogue
from madrun.spec.plan import NOWHERE, SHARED

MODEL = {"name": "x", "scripts": "scripts/run.sh", "n_gpus": "1", "args": ""}


@pytest.mark.parametrize(
    ("vendor", "fit"),
    [
        ("AMD", {"amd", "cpu"}),
        ("nvidia", {"nvidia", "cpu"}),
        ("CPU", {"amd", "nvidia", "cpu"}),
        ("", {"amd", "nvidia", "cpu"}),
    ],
)
def test_an_image_for_one_vendor_is_none_for_the_other(tmp_path, vendor, fit):
    file = tmp_path / "m.json"
    image = {"docker_image": "r/x:1", "gpu_vendor": vendor}
    file.write_text(json.dumps({"built_images": {"k": image}, "built_models": {"k": MODEL}}))
    (card,) = read_given(str(file)).cards(Catalogue(tmp_path, (), ()), ())
    assert set(card.images) == fit


def test_a_file_that_is_nested_too_deeply_is_named(tmp_path):
    file = tmp_path / "m.json"
    file.write_text("[" * 100_000)
    with pytest.raises(UsageError, match=f"--manifest-file: {file}: not JSON that can be read: nested too deeply"):
        read_given(str(file))


@pytest.mark.parametrize(
    ("more", "pull_from", "told"),
    [
        ({"local_image": True}, SHARED, False),
        ({"local_image": "true", "docker_image": "rocm/x:1"}, SHARED, False),
        ({"local_image": False}, NOWHERE, False),
        ({"local_image": True, "registry_image": "r.example/x:1"}, "r.example/x:1", True),
    ],
)
def test_a_local_image_comes_from_the_shared_directory_unless_a_registry_has_it(tmp_path, more, pull_from, told):
    file = tmp_path / "m.json"
    image = {"docker_image": "ci-x", **more}
    file.write_text(json.dumps({"built_images": {"k": image}, "built_models": {"k": MODEL}}))
    (card,) = read_given(str(file)).cards(Catalogue(tmp_path, (), ()), ())
    assert {source.pull_from for source in card.images.values()} == {pull_from}
    assert any("k.local_image: has no effect beside registry_image" in line for line in card.warnings) == told


def test_the_shared_directory_is_the_one_of_the_environment(monkeypatch, tmp_path):
    request = SimpleNamespace(repository=RepositoryOptions())
    monkeypatch.setenv("MAD_DOCKER_BUILDS", str(tmp_path))
    assert policy_of(request, tmp_path).shared == tmp_path
    monkeypatch.setenv("MAD_DOCKER_BUILDS", "")
    assert policy_of(request, tmp_path).shared is None
