"""Build manifests as tools and people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.spec.manifest import Manifest, WrongManifest, read_manifest

ONE = {"built_images": {"k": {}}, "built_models": {"k": {"name": "x"}}}


def test_an_image_without_names_is_called_by_its_key():
    manifest, notes = read_manifest(ONE)
    assert (manifest.built_images["k"].docker_image, notes) == ("k", ())
    empty = {**ONE, "built_images": {"k": {"docker_image": ""}}}
    assert read_manifest(empty)[0].built_images["k"].docker_image == "k"
    only = {**ONE, "built_images": {"k": {"registry_image": "r/x:1"}}}
    assert read_manifest(only)[0].built_images["k"].docker_image == ""


def test_what_has_no_effect_is_noted_with_what_is_near():
    value = {**ONE, "contxt": {}, "built_images": {"k": {"docker_imag": "x", "log_file": "l"}, "other": {}}}
    assert read_manifest(value)[1] == (
        "contxt: has no effect (did you mean 'context'?)",
        "built_images.k.docker_imag: has no effect (did you mean 'docker_image'?)",
        "built_images.other: no card in built_models has this key",
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([], "the file: found list, allowed: an object"),
        ({}, "built_models: found nothing"),
        ({"built_images": {}, "built_models": {"k": {}}}, "built_models.k: no image has this key"),
        ({"built_images": {"k": 1}, "built_models": {"k": {}}}, "built_images.k: found int"),
        ({**ONE, "context": [1]}, "context: found list"),
        ({**ONE, "built_images": {"k": {"docker_image": 3}}}, "built_images.k.docker_image: found int, allowed: text"),
    ],
)
def test_what_cannot_be_a_manifest_says_where(value, text):
    with pytest.raises(WrongManifest, match=text.replace(".", r"\.")):
        read_manifest(value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["built_images", "built_models", "context", "k", "summary"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)


@given(JSON)
def test_any_json_is_a_manifest_or_a_wrong_one(value):
    try:
        manifest, _ = read_manifest(value)
    except WrongManifest:
        return
    assert isinstance(manifest, Manifest)
