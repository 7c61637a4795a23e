"""Which of the things that a launch needs each host lacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from madrun.backends.carry.bundle import Bundle, bundle, kind_of
from madrun.backends.carry.gitstate import Checkout, checkout_of
from madrun.backends.carry.images import Image
from madrun.backends.carry.talk import Starter, Target, ask, each, named, printable
from madrun.backends.carry.tree import Listing, Tree, listing_of, tree_of
from madrun.backends.head import Head
from madrun.backends.launchfolder import LaunchFolder
from madrun.backends.ssh.settings import SshSettings
from madrun.backends.ssh.visitscript import Seen
from madrun.errors import UsageError
from madrun.spec.launch import Launch


def place_of(launch: Launch) -> str:
    """Of one launch, below the folder of a node."""
    return f"launches/{launch.id}"


def target_of(seen: Seen) -> Target:
    """The host, with the python that answers there."""
    python = seen.pythons[0] if seen.pythons else None
    engine = seen.engines[0].partition(" ")[0] if seen.engines else ""
    if python is None:
        return Target(host=seen.host, python="", engine=engine)
    kind = kind_of(python.tag, python.system, python.machine, python.libc.partition("-")[0])
    return Target(host=seen.host, python=python.path, kind=kind, engine=engine)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the hosts have. `answers`: of each, `there.requests.look`; `bases`: the folder of each.

    `without_madrun`, `copied`: the hosts that get these. `tree`: the repository where it is copied; `checkout`: where
    git brings it.
    """

    answers: Mapping[str, Mapping[str, Any]]
    bases: Mapping[str, str]
    without_madrun: tuple[str, ...]
    copied: tuple[str, ...]
    packed: Bundle | None
    tree: Tree | None
    checkout: Checkout

    def folder_on(self, job: Delivery, one: Seen) -> str:
        """The launch's folder on a host."""
        return job.launch.folder if one.shared else f"{self.bases[one.host]}/{place_of(job.launch)}/files"

    def program_on(self, job: Delivery, one: Seen) -> str:
        """MADRUN_PROGRAM: one that is installed there, else the one that was carried."""
        if job.is_installed(one) or self.packed is None:
            return one.program
        name = job.wanted(target_of(one), self.packed)["name"]
        return f"{self.bases[one.host]}/madrun/{name}/bin/madrun"

    def repository_on(self, job: Delivery, one: Seen) -> str:
        """MADRUN_REPOSITORY: the copy, or nothing where the repository is seen at its own path."""
        if one.host not in self.copied:
            return ""
        below = f"/{self.checkout.below}" if self.tree is None and self.checkout.below else ""
        return f"{self.bases[one.host]}/{job.copy}{below}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One launch and its hosts, before anything is sent."""

    starter: Starter
    targets: tuple[Target, ...]
    seen: tuple[Seen, ...]
    folder: LaunchFolder
    launch: Launch
    settings: SshSettings
    head: Head
    cache_folder: Path

    @property
    def copy(self) -> str:
        """Where the repository's copy is, below the folder of a node; it keeps its name."""
        return f"{place_of(self.launch)}/repository/{Path(self.launch.repository).name or 'repository'}"

    def say(self, text: str, hosts: int) -> None:
        """One line for all hosts."""
        self.head.say(f"{text} to {hosts} of {len(self.targets)} host{'s' if len(self.targets) > 1 else ''}")

    def is_installed(self, one: Seen) -> bool:
        """Whether the host's own madrun is taken."""
        return self.settings.madrun != "carry" and one.madrun == self.launch.version

    def wanted(self, target: Target, packed: Bundle) -> dict[str, Any]:
        """The madrun for a host: as it is packed, or with dependencies that its own python installs."""
        fits = target.kind == packed.kind
        name = packed.hash if fits else f"{packed.hash}-{'-'.join(target.kind.split())}"
        found = {"hash": packed.hash, "size": packed.size, "name": name}
        return found if fits else {**found, "requirements": list(packed.requirements)}

    def look(self, images: Sequence[Image]) -> Found:
        """Asks all hosts at once what they have; `UsageError` for what cannot be brought to them."""
        self._check()
        lacking = [one.host for one in self.seen if not self.is_installed(one)]
        packed = bundle(self.cache_folder) if lacking else None
        listing = self._listing()
        wanted = self.settings.repository in ("auto", "shared")
        same = {"root": self.launch.repository, "marks": listing.marks} if listing and wanted else None

        def one(target: Target) -> dict[str, Any]:
            question = {**self.question("look"), "engine": target.engine, "images": [image.name for image in images]}
            if packed is not None and target.host in lacking:
                question["madrun"] = self.wanted(target, packed)
            return ask(self.starter, target, {**question, "same": same}, self.head.stop)

        answers = each(self.targets, one, self.settings.fanout, "looking at what the hosts have")
        differing = {host: answer["different"] for host, answer in answers.items() if answer["different"] != ""}
        self._check_shared(differing)
        tree = tree_of(listing) if listing and differing and self.settings.repository != "git" else None
        return Found(
            answers=answers,
            bases={host: printable(str(answer["folder"])) for host, answer in answers.items()},
            without_madrun=tuple(host for host in lacking if not answers[host]["madrun"]),
            copied=tuple(differing),
            packed=packed,
            tree=tree,
            checkout=self._checkout(bool(differing)),
        )

    def _listing(self) -> Listing | None:
        if self.settings.repository == "git":
            return None
        made = [Path(self.launch.results), self.folder.path]
        return listing_of(Path(self.launch.repository), self.settings.exclude, made)

    def question(self, what: str) -> dict[str, Any]:
        return {"do": what, "folder": self.settings.folder, "launch": self.launch.id}

    def _check(self) -> None:
        if without := [target.host for target in self.targets if not target.python]:
            raise UsageError(f"{named(without)}: found no python 3.10 or later; install one, it runs what is carried")
        lacking = [one for one in self.seen if one.madrun != self.launch.version]
        if self.settings.madrun == "installed" and lacking:
            found = ", ".join(sorted({one.madrun or "none" for one in lacking}))
            raise UsageError(
                f"ssh.madrun: installed: {named([one.host for one in lacking])}: found madrun {found}, allowed: "
                f"{self.launch.version} as here; install it there, or set ssh.madrun to auto"
            )

    def _check_shared(self, differing: Mapping[str, str | None]) -> None:
        if self.settings.repository == "shared" and differing:
            host, name = next(iter(differing.items()))
            raise UsageError(
                f"ssh.repository: shared: {self.launch.repository} is not the same on {named(list(differing))} as "
                f"here, on {host} first {printable(str(name))}; mount it there, or set ssh.repository to auto"
            )

    def _checkout(self, wanted: bool) -> Checkout:
        if not wanted:
            return Checkout()
        found = checkout_of(Path(self.launch.repository))
        if self.settings.repository != "git":
            return found
        for wrong, text in (
            (not found.commit, "is in no git checkout; set ssh.repository to copy"),
            (found.dirty, "has changes that no commit holds; commit and push them, or set ssh.repository to copy"),
            (not found.url, "has no remote from which nodes could take it; set ssh.repository to copy"),
        ):
            if wrong:
                raise UsageError(f"ssh.repository: git: {self.launch.repository} {text}")
        return found
