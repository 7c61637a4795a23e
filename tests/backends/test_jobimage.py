"""Which image a node runs in that is a container from the start; the errors are in the tests of Compose."""

import pytest

from madrun.backends.jobimage import job_image
from madrun.errors import ContextError


@pytest.mark.parametrize(
    ("images", "image", "vendor", "found"),
    [
        ({"cpu": "c:1"}, None, None, ("cpu", "c:1")),
        ({"cpu": "c:1", "amd": "a:1"}, None, "amd", ("amd", "a:1")),
        ({"cpu": "c:1"}, "mine:2", None, ("cpu", "mine:2")),
        ({"cpu": "", "amd": "a:1"}, "mine:2", None, ("", "mine:2")),
        ({"cpu": "c:1"}, "mine:2", "nvidia", ("nvidia", "mine:2")),
        ({}, "mine:2", None, ("", "mine:2")),
    ],
)
def test_what_is_said_counts_more_than_the_card(launch, images, image, vendor, found):
    assert job_image(launch(images=images), image, vendor) == found


def test_the_error_names_the_backends_own_key(launch):
    with pytest.raises(ContextError, match=r"kubernetes.image: is missing.*--set kubernetes.image=NAME"):
        job_image(launch(backend="kubernetes", images={"cpu": ""}), None, None)
