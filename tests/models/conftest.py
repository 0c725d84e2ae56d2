"""Networks with the weights that a golden was made with."""

import importlib.util
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from d2deploy.artifact import ModelSpec
from d2deploy.config.model import read_model_config
from d2deploy.image import read_image, resize_shortest_edge, to_batch
from d2deploy.models.build import build_model
from d2deploy.models.spec import model_spec

GOLDEN = Path(__file__).parents[1] / "golden"


@dataclass(frozen=True)
class Golden:
    """What detectron2 gave for one config: `arrays` as described in tests/golden/README.md."""

    name: str
    core: Any
    facts: dict[str, Any]
    arrays: Any
    spec: ModelSpec

    @property
    def outputs(self) -> tuple[str, ...]:
        return tuple(tensor.name for tensor in self.spec.outputs)

    def inputs(self, image: str) -> tuple[torch.Tensor, ...]:
        """What the core takes: the image, its size, and the golden's proposals where it wants some."""
        pixels = read_image(GOLDEN / self.facts["images"][image]["file"])
        small = resize_shortest_edge(pixels, min_size=self.facts["short_edge"], max_size=self.facts["max_size"])
        images, sizes = to_batch(
            [small], channel_order=self.facts["input_format"], size_divisor=self.core.prepare.size_divisor
        )
        made = {"images": torch.from_numpy(images), "image_sizes": torch.from_numpy(sizes)}
        if f"{image}/input/proposal_boxes" in self.arrays:
            made["proposal_boxes"] = torch.from_numpy(self.arrays[f"{image}/input/proposal_boxes"])[None]
            made["num_proposals"] = torch.tensor([made["proposal_boxes"].shape[1]])
        return tuple(made[tensor.name] for tensor in self.spec.inputs)


def _weights_module() -> Any:
    spec = importlib.util.spec_from_file_location("golden_weights", GOLDEN / "weights.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def load_golden(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Function: config name -> Golden; the last one is kept, the tests come config by config."""
    made: dict[str, Golden] = {}
    rebuild = _weights_module().load_golden_state_dict

    def close() -> None:
        for golden in made.values():
            golden.arrays.close()
        made.clear()

    def load(name: str) -> Golden:
        if name not in made:
            close()
            folder = GOLDEN / "detectron2" / name
            facts = json.loads((folder / "golden.json").read_text())
            file = tmp_path_factory.mktemp("config") / "config.yaml"
            file.write_text(facts["config_text"])
            # A LazyConfig's dump has no data loader, so no sizes.
            config = read_model_config(file, min_size=facts["short_edge"], max_size=facts["max_size"])
            with torch.device("meta"):
                core = build_model(config)
            tensors = {key: torch.from_numpy(value) for key, value in rebuild(folder).items()}
            assert core.state_dict().keys() == tensors.keys()
            core.load_state_dict(tensors, strict=False, assign=True)
            spec = model_spec(config, core)
            arrays = np.load(folder / "golden.npz")
            made[name] = Golden(name, core.requires_grad_(False), facts, arrays, spec)
        return made[name]

    yield load
    close()
