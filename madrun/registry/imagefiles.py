"""What an image is built from: its Dockerfile, the folder that the builder gets, and what it copies from beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from madrun.errors import CardError
from madrun.registry.buildcontext import BuildContext, build_context
from madrun.registry.cardtree import read_text
from madrun.spec.dockerfile import TOOLS_STAGE, copies_tools, with_tools

TOOLS_FOLDER = "docker/common"


@dataclass(frozen=True, slots=True)
class ImageFiles:
    """Paths relative to the repository, the Dockerfile's text as it is built, and what is sent to the builder."""

    dockerfile: str
    context: str
    text: str
    sent: BuildContext


def image_files_of(dockerfile: Path, context: str | None, root: Path) -> ImageFiles:
    """What is sent for this Dockerfile; `context` is relative to the root, None for the Dockerfile's own folder.

    Raises `CardError` where the folder is missing, outside of the repository, or `tools` cannot be provided.
    """
    sent = dockerfile.parent if context is None else (root / context).resolve()
    if not sent.is_dir():
        raise CardError(
            f"{dockerfile}: its build context {context} is no folder of {root}; make it, or name another one with "
            "dockercontext in the card"
        )
    for path in (dockerfile, sent):
        if not path.is_relative_to(root):
            raise CardError(f"{path}: lies outside of the repository {root}; allowed: paths inside of it")
    text = read_text(dockerfile)
    wants_tools = context is not None and copies_tools(text)
    tools = root / TOOLS_FOLDER
    if wants_tools:
        text = _with_tools(text, dockerfile, tools)
    return ImageFiles(
        dockerfile=str(dockerfile.relative_to(root)),
        context=str(sent.relative_to(root)),
        text=text,
        sent=build_context(dockerfile, sent, tools if wants_tools else None, whole_repository=sent == root),
    )


def _with_tools(text: str, dockerfile: Path, tools: Path) -> str:
    if not tools.is_dir():
        raise CardError(f"{dockerfile}: copies --from={TOOLS_STAGE}, and {tools} is missing; make it, or a stage")
    try:
        return with_tools(text)
    except ValueError as error:
        raise CardError(f"{dockerfile}: {error}") from None
