"""What the image of a MAD card is built with, and by which names it is known."""

from dataclasses import replace

from madrun.planning.image import Given, for_architecture, mad_tag, plan_image, secrets_in_history
from madrun.planning.job import CardFacts
from madrun.spec.card import Card, ImageSource
from madrun.spec.context import Context
from madrun.spec.mad import MadCard

SOURCE = ImageSource(dockerfile="docker/x.ubuntu.amd.Dockerfile", context="docker")
CARD = Card(
    name="dir/X", folder="/r/s", repository="/r", source="/r/models.json", script="run.sh", images={"amd": SOURCE},
    mad=MadCard(short="X", dockerfile="docker/x"),
)  # fmt: skip
GIVEN = Given(architecture="gfx942", secrets=frozenset({"MAD_SECRETS_T", "Box_USERNAME"}))


def image(text, said=None, given=GIVEN, **changes):
    values = {"dockerfile": SOURCE.dockerfile, "context": "docker", "dockerfile_text": text, "context_hash": "h"}
    facts = CardFacts(script_hash="", files=(), **(values | changes))
    return plan_image(CARD, said or Context(), "amd", facts, given)


def test_what_the_host_gives_is_an_argument_only_where_it_is_declared():
    assert image("FROM base:1\n").build_args == {}
    made = image("FROM base:1\nARG MAD_SYSTEM_GPU_ARCHITECTURE\nARG MAD_SECRETS_T Box_USERNAME=x\nARG OTHER\n")
    assert made.build_args == {
        "MAD_SYSTEM_GPU_ARCHITECTURE": "gfx942", "MAD_SECRETS_T": "{secret}", "Box_USERNAME": "{secret}",
    }  # fmt: skip


def test_an_argument_of_the_context_counts_more_than_the_host():
    context = Context(docker_build_arg={"MAD_SYSTEM_GPU_ARCHITECTURE": "gfx90a", "BASE_DOCKER": "mine:1"})
    made = image("ARG BASE_DOCKER=base:1\nFROM $BASE_DOCKER\nARG MAD_SYSTEM_GPU_ARCHITECTURE\n", context)
    assert (made.build_args["MAD_SYSTEM_GPU_ARCHITECTURE"], made.base) == ("gfx90a", "mine:1")


def test_the_base_is_the_default_of_its_argument():
    assert image("ARG BASE_DOCKER=base:1\nFROM $BASE_DOCKER\n").base == "base:1"


def test_secrets_are_mounted_where_the_dockerfile_mounts_them():
    text = "FROM base:1\nRUN --mount=type=secret,id=MAD_SECRETS_T --mount=type=secret,id=UNKNOWN true\n"
    assert image(text).secrets == ("MAD_SECRETS_T",)
    assert image(text).build_args == {}


def test_another_secret_or_another_value_makes_no_other_recipe_but_another_architecture_does():
    text = "FROM base:1\nARG MAD_SYSTEM_GPU_ARCHITECTURE\n"
    assert image(text).recipe == image(text, given=replace(GIVEN, secrets=frozenset())).recipe
    assert image(text).recipe != image(text, given=replace(GIVEN, architecture="gfx90a")).recipe


def test_the_tag_is_that_of_mad():
    assert image("FROM base:1\n").tag == "ci-dir_x_x.ubuntu.amd"
    assert mad_tag(replace(CARD, name="A+b"), "docker/Y") == "ci-a_b_y"


def test_an_image_for_an_architecture_has_names_of_its_own():
    one = for_architecture(image("FROM base:1\n"), CARD, "gfx90a")
    assert one.tag == "ci-dir_x_x.ubuntu.amd_gfx90a"
    assert one.name.endswith(f"_gfx90a:{one.recipe[:12]}")
    assert one.build_args == {"MAD_SYSTEM_GPU_ARCHITECTURE": "gfx90a"}


def test_a_secret_that_history_would_show_is_noted():
    text = "FROM base:1\nARG MAD_SECRETS_T\n"
    (note,) = secrets_in_history(CARD, image(text), text)
    assert "ARG MAD_SECRETS_T leaves the secret in the history" in note
    assert "RUN --mount=type=secret,id=MAD_SECRETS_T" in note


def test_a_dockerfile_outside_of_the_context_keeps_its_path():
    made = image("FROM base:1\n", context="scripts/x")
    assert (made.dockerfile, made.source) == ("x.ubuntu.amd.Dockerfile", "docker/x.ubuntu.amd.Dockerfile")
