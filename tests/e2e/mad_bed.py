"""A checkout of the hand-written model repository beside this file, and what the tests look up in it after a run."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).with_name("mad_repository")
BASE = "madrun-test-base"  # what its Dockerfiles start from where nothing else is said
TOKEN, PASSWORD = "hf_zoo_token_0123456789ab", "open-sesame-123456"
ENV = {
    "BUILD_NUMBER": "77",
    "pipeline": "nightly",
    "NCCL_DEBUG": "WARN",
    "MIOPEN_USER_DB_PATH": "/tmp/miopen",
    "MAD_SECRETS_HFTOKEN": TOKEN,
    "ZOO_MAD_SECRETS_KEY": "ninechars",
    "ZOO_HOST_WORD": "word-of-the-host",
    # a submodule that lies on this machine, as the one that is cloned here does
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "protocol.file.allow",
    "GIT_CONFIG_VALUE_0": "always",
    "MODEL_DIR": "",
}
_GIT = ["git", "-c", "user.name=zoo", "-c", "user.email=zoo@example.com", "-c", "protocol.file.allow=always"]


def git(folder: Path, *words: str) -> str:
    """What git says, in this folder."""
    return subprocess.run([*_GIT, *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def _new_git(folder: Path) -> None:
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "as it stands")


@dataclass(frozen=True)
class Checkout:
    """A clean checkout, with what its cards need of the host: data and the repository that one of them clones."""

    folder: Path
    host: Path

    def run(
        self, *words: str, cwd: Path | None = None, timeout: float = 280, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """`madrun WORDS` in the checkout, to its end."""
        done = subprocess.run(
            [sys.executable, "-m", "madrun", *words],
            cwd=cwd or self.folder,
            env={**os.environ, **ENV, **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert "internal error" not in done.stderr, done.stderr
        return done

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """`madrun WORDS` in the checkout, begun; nobody listens to it."""
        return subprocess.Popen(
            [sys.executable, "-m", "madrun", *words],
            cwd=self.folder,
            env={**os.environ, **ENV},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def limits(self, *words: str) -> dict[str, float]:
        """The time limit of each card in the plans that these words make; 0 is none."""
        done = self.run("plan", "--json", *words)
        assert done.returncode == 0, done.stderr
        plans = json.loads(done.stdout)
        return {
            plan["job"]["card"]: plan["job"]["timeout_s"] for plan in (plans if isinstance(plans, list) else [plans])
        }

    def records(self) -> list[dict[str, Any]]:
        """Every record, oldest first; `home` is its run directory."""
        found = []
        for path in sorted(self.folder.glob("results/runs/*/record.json"), key=lambda path: path.stat().st_mtime_ns):
            found.append({**json.loads(path.read_text()), "home": path.parent})
        return found

    def record(self, card: str) -> dict[str, Any]:
        """The last record of a card."""
        found = [record for record in self.records() if record["card"] == card]
        assert found, f"no run of {card}"
        return found[-1]

    def status(self) -> dict[str, str]:
        """How the last run of each card ended."""
        return {record["card"]: record["status"] for record in self.records()}

    def rows(self, name: str = "perf.csv") -> list[dict[str, str]]:
        """The rows of a CSV."""
        with (self.folder / name).open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def notes(self, card: str) -> str:
        """All that the card's last record says in words: reasons, notes and findings."""
        record = self.record(card)
        nodes = [text for node in record["nodes"] for text in (*node["notes"], *node["findings"])]
        return "\n".join([*record["reasons"], *record["notes"], *nodes])

    def output(self, card: str) -> Path:
        """Where the files are that the card's last run left."""
        return Path(self.record(card)["home"]) / "node-0/output"

    def console(self, card: str) -> str:
        """What the card's last run printed."""
        return (Path(self.record(card)["home"]) / "node-0/console.log").read_text()

    def hashes(self) -> dict[str, str]:
        """Every file but those that madrun says it writes: perf.csv, results/, and git's own."""
        found = {}
        for path in sorted(self.folder.rglob("*")):
            name = str(path.relative_to(self.folder))
            if name.startswith((".git/", "results/")) or name in (".git", "results", "perf.csv"):
                continue
            mode = oct(path.lstat().st_mode)
            found[name] = mode + (hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "")
        return found


def check_out(place: Path, to_clone: bool = False) -> Checkout:
    """A fresh checkout below `place`, its data beside it; on wish also the repository that one of the cards clones."""
    folder, host = place / "zoo", place / "host"
    shutil.copytree(REPOSITORY, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "credential.json").write_text(
        json.dumps({"ZOO_LOGIN": {"username": "keeper", "password": PASSWORD}}), encoding="utf-8"
    )
    for name, moved, to in (
        ("data.json", "/nfs/zoo", str(host)),
        ("models.json", "https://git.example.com/zoo", f"file://{host}"),
    ):
        file = folder / name
        file.write_text(file.read_text(encoding="utf-8").replace(moved, to), encoding="utf-8")
    for name, file, text in (("corpus", "corpus.txt", "to be read"), ("tokens", "tokens.txt", "one two")):
        _write(host / name / file, text)
    if to_clone:
        _write(host / "inner/inner.txt", "inner")
        _new_git(host / "inner")
        _write(host / "tiny/upstream.txt", "upstream")
        _new_git(host / "tiny")
        git(host / "tiny", "submodule", "--quiet", "add", f"file://{host}/inner", "inner")
        git(host / "tiny", "commit", "-q", "-m", "with its inner part")
    _new_git(folder)
    return Checkout(folder, host)


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True)
    file.write_text(f"{text}\n")
