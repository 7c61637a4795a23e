"""What this host says of each case of a suite that runs on it alone: its plan, before anything is started."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from madrun.cli.around import Said, with_tools
from madrun.cli.cases import cases_of
from madrun.cli.contexts import context_of
from madrun.cli.imagepolicy import policy_of
from madrun.cli.launchcards import manifest_layer
from madrun.cli.layers import site_layer, user_layers
from madrun.cli.leftout import why_skipped
from madrun.cli.prepare import Prepared, look, look_at_git, plan_case, wanted_runtime
from madrun.data.config import check_named
from madrun.errors import CardError, DataError, MadrunError
from madrun.planning.topology import OF_INTERFACES, check_ranks
from madrun.runners import RUNNERS
from madrun.spec.card import Card
from madrun.spec.codec import to_plain
from madrun.spec.context import Context, Layer
from madrun.suites.expand import Content

if TYPE_CHECKING:
    from madrun.cli.suitecheck import Here

# What is checked where the layers meet, and what no plan fails for: cases that differ in it have one plan's faults.
_ANY = ("model_args", "more_args", "timeout", "stall_timeout", "join_timeout", "grace")


@dataclass(slots=True)
class Plans:
    """Each case's plan as `run` would make it; cases whose plans would fail alike are planned once."""

    here: Here
    below: list[Layer] = field(init=False)
    above: list[Layer] = field(init=False)
    hosts: dict[str, Prepared | MadrunError] = field(default_factory=dict)
    seen: dict[str, MadrunError | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        request = self.here.request
        self.below = [*site_layer(request, self.here.repository), *manifest_layer(request)]
        self.above = user_layers(request)
        check_named(request.repository.data_config)

    def case(self, content: Content, cards: Sequence[Card], own: list[Layer]) -> int | None:
        """As `Look` has it. What `run` would leave out beside other cards is no fault."""
        above = [*self.above, *own]
        if content.nnodes:
            above.append(Layer("nnodes", {"multi_node_args": {"NNODES": content.nnodes}}))
        prepared = self._prepared([*self.below, *above])
        for card in cards:
            try:
                self._plan(card, context_of(card, self.below, above, prepared.facts), prepared)
            except (CardError, DataError):
                if card.mad is None and len(cards) == 1:
                    raise
        return None

    def _prepared(self, layers: list[Layer]) -> Prepared:
        """This host with the engine that these layers ask for; `EngineError` where it is not here."""
        runtime = wanted_runtime(layers)
        if runtime not in self.hosts:
            self.hosts[runtime] = self._looked(runtime)
        found = self.hosts[runtime]
        if isinstance(found, MadrunError):
            raise found
        found.layers = tuple(layers)
        return found

    def _looked(self, runtime: str) -> Prepared | MadrunError:
        repository, request = self.here.repository, self.here.request
        try:
            facts, client = look(runtime, request.results)
        except MadrunError as error:
            return error
        found = Prepared(
            repository=repository, facts=facts, engine=client, planned=[], git_state=look_at_git(repository)
        )
        found.data_config = request.repository.data_config
        return found

    def _plan(self, card: Card, said: Said, prepared: Prepared) -> None:
        context = said[0]
        check_ranks(context.multi_node_args, tuple(RUNNERS))
        key = f"{card.name} {_of_plan(context)}"
        if key not in self.seen:
            self.seen[key] = self._planned(card, said, prepared)
        if (error := self.seen[key]) is not None:
            raise error

    def _planned(self, card: Card, said: Said, prepared: Prepared) -> MadrunError | None:
        """What is wrong with the card's plans, if anything."""
        request = self.here.request
        if why_skipped(card, request, prepared.facts.accelerator):
            return None
        try:
            prepared.images = policy_of(request, self.here.repository, prepared.layers)
            said, stack = with_tools(card, said, request.repository.tools_config)
            for case in cases_of(card, said[0], prepared.facts, prepared.layers):
                plan_case(case, said, prepared, stack, open_ports=False)
        except MadrunError as error:
            return error
        finally:
            while prepared.claims:
                prepared.claims.pop().release()
        return None

    def together(self) -> None:
        """Cases that are run one after the other have nothing in common that could be wrong."""

    def close(self) -> None:
        """Gives back the connections to engines."""
        for found in self.hosts.values():
            if isinstance(found, Prepared) and found.engine is not None:
                with suppress(OSError):
                    found.engine.close()


def _of_plan(context: Context) -> str:
    """All of it that a plan may fail for."""
    variables = {name: value if name in OF_INTERFACES else "" for name, value in context.docker_env_vars.items()}
    values = to_plain(replace(context, docker_env_vars=variables))
    return repr({name: value for name, value in values.items() if name not in _ANY})
