"""The first generation's import, and nothing else."""

from madengine.tools.discover_models import CustomModel


def list_models():
    return [
        CustomModel(
            name="tiny", dockerfile="../../docker/base", scripts="steps.py", tags=["everyday"], args="--steps 2"
        )
    ]
