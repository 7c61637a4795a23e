"""Cards out of the YAML files beside this one; asks git, imports a sibling and prints, as real ones do."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from zoo_device import host_device  # noqa: E402

try:
    from madengine.utils.discover_models import CustomModel
except ImportError:
    from madengine.tools.discover_models import CustomModel

print("looking at the device:", host_device())


@dataclass
class Hooked(CustomModel):
    """Fills in its arguments only when it is selected."""

    def update_model(self):
        self.args = "--config late.yaml"


def _commit():
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=True).stdout.strip()


def list_models():
    print("listing at commit", _commit())
    shared = {
        "dockerfile": "../../docker/base",
        "scripts": "run.sh",
        "n_gpus": "1",
        "owner": "zoo@example.com",
        "timeout": 86400,
        "multiple_results": "primus_perf_output.csv",
    }
    cards = []
    for file in sorted(HERE.glob("configs/*.yaml")):
        precision = file.stem.rpartition("-")[2]
        cards.append(
            CustomModel(
                name=file.stem,
                args=f"--config {file.name}",
                tags=["primus", "everyday", precision],
                training_precision=precision,
                **shared,
            )
        )
    cards.append(Hooked(name="hooked", tags=["primus", "everyday"], **shared))
    print("the submodule is missing; only part of the cards is listed", file=sys.stderr)
    return cards
