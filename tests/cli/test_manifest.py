"""--manifest-file: which accelerators an image of it is for, and files that cannot be read."""

import json

import pytest

from madrun.cli.manifest import read_given
from madrun.errors import UsageError
from madrun.registry.catalogue import Catalogue

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
