"""Weights tied to a short list of shared values (Han, Mao, Dally 2016, Deep Compression, arXiv 1510.00149)."""

from __future__ import annotations

from typing import Annotated, Any

from annotated_types import Ge, Le
from torch import nn

from imbik.models.hooks import put_everywhere
from imbik.models.layers.clustered import ClusteredEmbedding, ClusteredLinear
from imbik.models.layers.clustered_conv import ClusteredConv
from imbik.modules.places import chosen, tied_weights
from imbik.modules.step import Change, Job, ModuleStep, module_step, refuse_nothing
from imbik.sharing.kmeans import nearest_values

_SMALL = 1024
"""Weights of fewer entries, or of fewer than eight per value, stay as they are: there is nothing to gain."""

_KINDS: dict[type, Any] = {
    nn.Linear: ClusteredLinear,
    nn.Embedding: ClusteredEmbedding,
    nn.Conv1d: ClusteredConv,
    nn.Conv2d: ClusteredConv,
}


@module_step("cluster")
class Cluster(ModuleStep):
    """Every large matrix, table and kernel keeps ``values`` different entries, found by k-means: w_i = c[k_i], min Σ (w_i - c[k_i])².

    The indices k are stored packed (4 bits each for 16 values) beside the codebook c, in the state and in an ONNX artefact. A recovery
    training trains the codebooks; which entry uses which value stays. It saves bytes on disk, no time.

    Attributes:
        values: entries of a codebook, 2 to 256.
        exclude: paths of modules that stay as they are, with all inside.
    """

    values: Annotated[int, Ge(2), Le(256)] = 16
    exclude: tuple[str, ...] = ()

    def apply(self, model: nn.Module, job: Job) -> Change:
        """Cluster in place.

        Raises:
            UserError: no weights that are large enough.
        """
        change, shared = Change(model), tied_weights(model)
        # exact types: a subclass has a forward of its own
        layers = [(path, module) for path, module in chosen(model, self.exclude) if type(module) in _KINDS]
        with job.progress.track("k-means", len(layers)) as bar:
            for path, module in layers:
                bar.advance()
                # its twin would keep weights of its own
                if path in shared:
                    change.kept[path] = "another module uses its weights too"
                elif module.weight.numel() < max(_SMALL, 8 * self.values):
                    change.kept[path] = "so few weights have nothing to gain"
                else:
                    codebook, indices = nearest_values(module.weight.detach().float().numpy(), self.values)
                    put_everywhere(model, path, _KINDS[type(module)].of(module, codebook, indices))
                    change.layers[path] = f"{self.values} values"
        return refuse_nothing(change, self, model)

    def refuse_before(self, later: ModuleStep) -> str | None:
        """Refuse what would give the weights new entries."""
        return f"cluster is the last change of the weights; put {later.name} before it"
