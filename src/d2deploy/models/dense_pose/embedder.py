"""The vertices of meshes as embeddings, which those of cells are compared with (detectron2 DensePose, modeling/cse)."""

import torch
from torch import Tensor, nn

from d2deploy.config import schema
from d2deploy.models.alias import Alias

_SHORTEST = 1e-6  # a vector is divided by its length, or by this if it is shorter (cse/utils.py)


class Embedder(nn.Module):
    """A child embedder_<mesh> for each mesh."""

    def __init__(self, config: schema.EmbeddingPredictor) -> None:
        super().__init__()
        for mesh in config.meshes:
            make = FeatureEmbedder if mesh.feature_dim else DirectEmbedder
            self.add_module(f"embedder_{mesh.name}", make(mesh, embed_size=config.embed_size))
        self.meshes = Alias(self, [f"embedder_{mesh.name}" for mesh in config.meshes])
        self.shortest = _SHORTEST

    def forward(self) -> Tensor:
        """-> [V,embed_size] of length 1: the vertices of all meshes, mesh by mesh."""
        found: list[Tensor] = []
        for mesh in self.meshes:
            found.append(mesh())
        return nn.functional.normalize(torch.cat(found), dim=1, eps=self.shortest)


class DirectEmbedder(nn.Module):
    """TYPE vertex_direct: an embedding of each vertex."""

    def __init__(self, mesh: schema.Mesh, *, embed_size: int) -> None:
        super().__init__()
        self.embeddings = nn.Parameter(torch.zeros(mesh.num_vertices, embed_size))

    def forward(self) -> Tensor:
        """-> [num_vertices,embed_size]."""
        return self.embeddings


class FeatureEmbedder(nn.Module):
    """TYPE vertex_feature: one of features that each vertex has."""

    features: Tensor

    def __init__(self, mesh: schema.Mesh, *, embed_size: int) -> None:
        super().__init__()
        self.register_buffer("features", torch.zeros(mesh.num_vertices, mesh.feature_dim))
        self.embeddings = nn.Parameter(torch.zeros(mesh.feature_dim, embed_size))

    def forward(self) -> Tensor:
        """-> [num_vertices,embed_size]."""
        return self.features @ self.embeddings
