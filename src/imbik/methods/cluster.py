"""Weights tied to a short list of shared values (Han, Mao, Dally 2016, Deep Compression, arXiv 1510.00149)."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Annotated, ClassVar

from annotated_types import Ge, Le
from torch import nn

from imbik.errors import UserError
from imbik.methods.registry import Method, method
from imbik.models.layers.clustered import ClusteredEmbedding, ClusteredLinear
from imbik.models.structure import replace_module
from imbik.sharing.kmeans import nearest_values
from imbik.training.context import Context
from imbik.types import Checkpoint, Note

logger = logging.getLogger(__name__)

SMALL = 1024
"""Matrices of fewer entries, or of fewer than eight per value, stay as they are: there is nothing to gain."""


@method("cluster")
class Cluster(Method):
    """Every matrix keeps ``values`` different entries, found by k-means: w_ij = c[k_ij], min Σ (w_ij - c[k_ij])².

    The indices k are stored packed (4 bits each for 16 values) beside the codebook c, in the checkpoint and in the artefact. A
    ``distill`` step behind it trains the codebooks (the gradient of an entry is the sum over its members), the biases and the layer
    norms; which entry uses which value stays.

    It saves bytes on disk and in a download: 16 values are an eighth of float32. onnxruntime unpacks the matrices while it opens the
    file, so memory and time are those of the model without it; embedding tables stay packed to a byte an entry in memory.

    Attributes:
        values: entries of a codebook, 2 to 256; 16 and 256 fill their bits in the artefact, others up to 16 take 4, the rest 8.
        embeddings: the embedding tables too.
    """

    rewrites_matrices: ClassVar[bool] = True
    values: Annotated[int, Ge(2), Le(256)] = 16
    embeddings: bool = True

    def apply(self, checkpoint: Checkpoint, context: Context) -> Checkpoint:
        """Return the checkpoint with clustered matrices.

        Raises:
            UserError: the model has no matrix that is large enough.
        """
        model = checkpoint.model
        # listed before the first replacement, since named_modules() walks the tree that is changed
        # below; it gives a shared module once, and replace_module puts the new one at all of its
        # places
        chosen = [(name, module) for name, module in model.named_modules() if self._takes(module)]
        if not chosen:
            raise UserError("nothing to cluster", where="cluster", found=type(model).__name__, expected=f"matrices of {SMALL} or more")
        with context.progress.track("k-means", len(chosen)) as bar:
            for name, module in chosen:
                clustered = ClusteredEmbedding if isinstance(module, nn.Embedding) else ClusteredLinear
                # float32: NumPy has no bfloat16, which a checkpoint may be in
                codebook, indices = nearest_values(module.weight.detach().float().cpu().numpy(), self.values)
                replace_module(model, name, clustered.of(module, codebook, indices))
                bar.advance()
        return replace(checkpoint, model=model.eval(), notes=(*checkpoint.notes, Note.of("cluster", count=self.values)))

    def refuse_before(self, later: Method) -> str | None:
        """Refuse what would give the matrices new entries."""
        if isinstance(later, Cluster):
            return "cluster once, with the number of values that is wanted in the end"
        if later.rewrites_matrices:
            return f"cluster is the last change of the weights; put {later.name} before it"
        if later.trains_every_weight:
            return (
                "quantization-aware training changes every weight, cluster leaves few values to train; "
                "quantize with scheme: static, or leave cluster out"
            )
        return None

    def _takes(self, module: nn.Module) -> bool:
        if type(module) is nn.Embedding and not self.embeddings:
            return False
        # exact types: a subclass has a forward of its own, which a ClusteredLinear would drop
        # without a word; at 8 entries a value the float32 codebook alone is already an eighth of
        # the matrix
        return type(module) in (nn.Linear, nn.Embedding) and module.weight.numel() >= max(SMALL, 8 * self.values)
