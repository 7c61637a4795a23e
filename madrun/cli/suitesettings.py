"""What a backend says of each case of a suite before anything is started: its settings, and what it would be given."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from madrun.backends.table import BACKENDS, backend_of
from madrun.cli.launchcards import manifest_layer
from madrun.cli.launching import Asked, Made, backend_name, launch_context, make_launch, read_settings
from madrun.cli.launchoptions import LaunchOptions
from madrun.cli.layers import site_layer, user_layers
from madrun.errors import MadrunError
from madrun.planning.topology import check_ranks
from madrun.runners import RUNNERS
from madrun.spec.card import Card
from madrun.spec.codec import to_plain
from madrun.spec.context import Context, Layer
from madrun.spec.launch import Launch
from madrun.suites.expand import Content

if TYPE_CHECKING:
    from madrun.cli.suitecheck import Here
    from madrun.cli.suitewords import Typed


_SEVERAL = 2  # nodes: a launch has both ports, of however many nodes it is


@dataclass(slots=True)
class Launches:
    """Each case's launch as `--dry-run` would show it; what a node knows alone is resolved there.

    Cases with one selection of cards, settings and number of nodes are looked at once, and what all have in common,
    the repository that is carried for one, once for all.
    """

    typed: Typed
    here: Here
    layers: tuple[list[Layer], list[Layer]] = field(init=False)
    made: Made | MadrunError | None = None
    seen: dict[str, int | MadrunError] = field(default_factory=dict)

    def __post_init__(self) -> None:
        request = self.here.request
        below = [*site_layer(request, self.here.repository), *manifest_layer(request)]
        self.layers = below, user_layers(request)

    def case(self, content: Content, cards: Sequence[Card], own: list[Layer]) -> int | None:
        """As `Look` has it: `ContextError` and `UsageError` as the launch itself would raise them."""
        below, above = self.layers
        options = replace(self.typed.launch, nodes=content.nnodes)
        context, *_ = [launch_context((below, [*above, *own]), options, card) for card in cards]
        said = context.multi_node_args
        most = max(said.NNODES, content.nnodes or 0, said.NODE_RANK + 1, _SEVERAL)
        check_ranks(replace(said, NNODES=most), tuple(RUNNERS))
        parts = [to_plain(getattr(context, name)) for name in BACKENDS[backend_name(options)][1]]
        key = json.dumps([content.tags, parts, content.nnodes, said.NNODES], sort_keys=True, default=str)
        if key not in self.seen:
            self.seen[key] = self._seen(content, cards, (options, context))
        found = self.seen[key]
        if isinstance(found, MadrunError):
            raise found
        return said.NNODES or found

    def _seen(self, content: Content, cards: Sequence[Card], of: tuple[LaunchOptions, Context]) -> int | MadrunError:
        """How many nodes the settings say, 0 where they say none; or what is wrong."""
        try:
            found = read_settings(*of)
            self._render(content, cards, found)
        except MadrunError as error:
            return error
        count = getattr(found[1], "nodes", None)
        return count if isinstance(count, int) else 0

    def _render(self, content: Content, cards: Sequence[Card], of: tuple[Any, Any, int]) -> None:
        """Raises what is wrong with what the backend would be given."""
        values, settings, nnodes = of
        if self.made is None:
            self.made = self._make(content)
        if isinstance(self.made, MadrunError):
            raise self.made
        images = {vendor: source.image or "" for vendor, source in cards[0].images.items()}
        names = tuple(card.name for card in cards)
        _render(replace(self.made.launch, cards=names, images=images, settings=values, nnodes=nnodes), settings)

    def _make(self, content: Content) -> Made | MadrunError:
        from madrun.cli.suitewords import options_of

        typed = self.typed
        launch = replace(typed.launch, nodes=content.nnodes)
        options = options_of(typed.options, content)
        asked = Asked(options=options, launch=launch, repository=typed.repository, files=typed.files)
        try:
            return make_launch(asked)
        except MadrunError as error:
            return error

    def together(self) -> None:
        """Raises where what is carried for every case is too much."""
        if isinstance(self.made, Made):
            self.made.rendered()

    def close(self) -> None:
        """Nothing is taken."""


def _render(launch: Launch, settings: Any) -> None:
    """All but what is carried, which is packed once."""
    if launch.backend == "kubernetes":
        from madrun.backends.kubernetes.payload import Payload
        from madrun.backends.kubernetes.render import render_with

        render_with(launch, settings, Payload())
    else:
        backend_of(launch.backend).render(launch, settings)
