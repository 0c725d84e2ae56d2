"""The demo's network and its export in every format and method, each made once."""

from pathlib import Path

import pytest

from d2deploy.artifact import Artifact
from d2deploy.backends import FORMATS
from d2deploy.models.build import Model, load_model
from d2deploy.workflows.export import export

DEMO = Path(__file__).parents[2] / "src" / "d2deploy" / "demo"
KINDS = [f"{row.name}-{method}" for row in FORMATS.values() for method in row.methods]


@pytest.fixture(scope="session")
def model() -> Model:
    return load_model(
        DEMO / "config.yaml", DEMO / "model_final.pth", class_names=(DEMO / "classes.txt").read_text().split()
    )


@pytest.fixture(scope="session", params=KINDS)
def artifact(request: pytest.FixtureRequest, model: Model, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """One artifact, not verified by export itself: the tests here do that."""
    format, method = request.param.split("-")
    folder = tmp_path_factory.mktemp("exports") / request.param
    return export(model, format, folder, method=method, verify=False)
