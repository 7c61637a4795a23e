"""What is sent to a builder for a MAD card: the context, docker/common where it is copied from, not what runs leave."""

import pytest

from madrun.errors import CardError
from madrun.registry.imagefiles import image_files_of
from madrun.runtimes.images.ensure import text_of
from madrun.spec.plan import ImagePlan

TOOLS = "ARG A=1\nFROM base:1\nCOPY --from=tools t /t\n"


@pytest.fixture
def root(tmp_path):
    (tmp_path / "docker/common").mkdir(parents=True)
    (tmp_path / "docker/common/t").write_text("tool")
    return tmp_path


def files(root, text="FROM base:1\n", context="docker", name="docker/x.Dockerfile"):
    (root / name).write_text(text)
    return image_files_of(root / name, context, root)


def test_tools_are_a_stage_before_the_first_from(root):
    made = files(root, TOOLS)
    assert made.text == "ARG A=1\nFROM scratch AS tools\nCOPY madrun-tools/ /\nFROM base:1\nCOPY --from=tools t /t\n"
    assert made.sent.entries["madrun-tools/t"] == root / "docker/common/t"
    image = ImagePlan(kind="build", dockerfile="x.Dockerfile")
    assert text_of(image, made.sent.entries) == made.text


def test_another_tool_is_another_context(root):
    before = files(root, TOOLS, context="docker").sent.hash
    (root / "docker/common/t").write_text("other")
    assert files(root, TOOLS).sent.hash != before


@pytest.mark.parametrize("text", ["FROM base:1\n", "FROM x AS tools\nFROM base:1\nCOPY --from=tools t /t\n"])
def test_without_such_a_copy_the_dockerfile_is_left_as_it_is(root, text):
    made = files(root, text)
    assert made.text == text
    assert "madrun-tools" not in made.sent.entries


def test_stages_by_number_beside_tools_are_refused(root):
    with pytest.raises(CardError, match=r"line 4: --from=0 beside --from=tools; name the stage"):
        files(root, TOOLS + "COPY --from=0 a /a\n")


def test_without_docker_common_there_are_no_tools(tmp_path):
    (tmp_path / "docker").mkdir()
    with pytest.raises(CardError, match=r"copies --from=tools, and .*docker/common is missing"):
        files(tmp_path, TOOLS)


def test_what_runs_leave_in_the_root_is_not_sent(root):
    for name in ("credential.json", "perf.csv", "x.live.log", "kept.txt"):
        (root / name).write_text("")
    (root / "results").mkdir()
    assert set(files(root, context=".").sent.entries) == {
        "docker", "docker/common", "docker/common/t", "docker/x.Dockerfile", "kept.txt",
    }  # fmt: skip


def test_a_dockerfile_outside_of_its_context_is_sent_too(root):
    (root / "scripts").mkdir()
    made = files(root, context="scripts")
    assert (made.context, list(made.sent.entries)) == ("scripts", ["x.Dockerfile"])


@pytest.mark.parametrize(("context", "text"), [("gone", "is no folder of"), ("..", "lies outside of the repository")])
def test_a_context_that_cannot_be_sent_is_named(root, context, text):
    with pytest.raises(CardError, match=text):
        files(root, context=context)


def test_a_byte_order_mark_does_not_end_up_behind_the_stage_of_the_tools(root):
    assert files(root, "\ufeff" + TOOLS).text == files(root, TOOLS).text
