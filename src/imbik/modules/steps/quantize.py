"""int8: rounded weights and values, which artefacts store and compute as integers."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Le
from torch import fx, nn

from imbik.errors import UserError
from imbik.models.hooks import put_everywhere
from imbik.modules.arguments import answer
from imbik.modules.int8.graph import LAYERS, fold_norms, round_values
from imbik.modules.int8.layers import RoundedValue, RoundedWeight, round_rows
from imbik.modules.places import chosen, inside, tied_weights
from imbik.modules.recover import Recovery
from imbik.modules.step import Change, Job, ModuleStep, module_step, refuse_nothing
from imbik.modules.tracing import traced
from imbik.quantization.integer import SMALL_TABLE


@module_step("quantize")
class Quantize(ModuleStep):
    """Layers compute with 8-bit integers; the module imitates in PyTorch what the artefact computes.

    ``dynamic``: weights of Linear and of recurrent layers; what they read is rounded at run time, by its own range. No data, no graph.
    ``static``: Linear and convolutions with batch norms folded; ranges of values are observed on batches of the loader; the module
    becomes a graph. ``qat``: static, then a training in which the module, rounding as it goes, learns to give what the original gives.
    Large embedding tables are rounded row by row, recurrent layers by gate and unit, in all schemes.

    Attributes:
        scheme: see above.
        bits: of weights; 7 for x86 processors without VNNI, whose 8-bit products overflow.
        per_channel: one scale per output channel, else one per layer.
        batches: of the loader that ranges are observed on.
        percentile: share of the values, in %, that a range must hold.
        epochs, learning_rate: of the training, for ``qat``.
        exclude: paths of modules that stay in float, with all inside.
    """

    scheme: Literal["dynamic", "static", "qat"] = "dynamic"
    bits: Literal[7, 8] = 8
    per_channel: bool = True
    batches: Annotated[int, Ge(1)] = 16
    percentile: Annotated[float, Gt(50), Le(100)] = 100.0
    epochs: Annotated[int, Ge(1)] = 3
    learning_rate: Annotated[float, Gt(0)] = 1e-4
    exclude: tuple[str, ...] = ()

    def apply(self, model: nn.Module, job: Job) -> Change:
        """Round; the static schemes give a graph of the module.

        Raises:
            UserError: no data, a module that cannot be traced, or nothing to round.
        """
        change = Change(model)
        self._round_rows(model, change)
        if self.scheme == "dynamic":
            self._dynamic(model, change)
            return refuse_nothing(change, self, model)
        if job.loader is None:
            raise UserError("ranges are observed on data", where=f"quantize.scheme: {self.scheme}", expected="a loader of batches")
        graph = traced(model, job.example, job.opaque)
        change.layers |= dict.fromkeys(fold_norms(graph), "folded into the layer before it")
        change.layers |= round_values(graph, self.exclude, self.bits, self.per_channel)
        self._observe(graph, job)
        if self.scheme == "qat":
            assert job.teach is not None
            job.teach(graph, Recovery(self.epochs, self.learning_rate))
            for module in graph.modules():
                if isinstance(module, RoundedWeight):
                    module.measure()
        change.model = graph
        return refuse_nothing(change, self, model)

    def refuse_before(self, later: ModuleStep) -> str | None:
        """Refuse what would change rounded weights."""
        return f"quantize is the last step; put {later.name} before it"

    def _round_rows(self, model: nn.Module, change: Change) -> None:
        """Round what stays in plain layers: tables, and the weights of recurrent layers."""
        for path, module in chosen(model, self.exclude):
            if type(module) is nn.Embedding and module.weight.numel() >= SMALL_TABLE:
                round_rows(module.weight, self.bits)
                change.layers[path] = "int8 rows"
            if type(module) in (nn.LSTM, nn.GRU, nn.RNN):
                for name, parameter in module.named_parameters():
                    if name.startswith("weight"):
                        round_rows(parameter, self.bits)
                change.layers[path] = "int8 weights"

    def _dynamic(self, model: nn.Module, change: Change) -> None:
        shared = tied_weights(model)
        for path, module in chosen(model, self.exclude):
            if type(module) is nn.Linear and path in shared:
                change.kept[path] = "another module uses its weights too"
            elif type(module) is nn.Linear:
                put_everywhere(model, path, RoundedWeight(module, self.bits, self.per_channel, dynamic=True))
                change.layers[path] = "int8 weights, values at run time"
            elif type(module) in LAYERS and not inside(path, list(change.layers)):
                change.kept[path] = "a convolution needs ranges that were observed before: scheme static"

    def _observe(self, graph: fx.GraphModule, job: Job) -> None:
        """Let every rounded value see some batches, and take its range."""
        values = [module for module in graph.modules() if isinstance(module, RoundedValue)]
        batches = job.batches(self.batches)
        # counting needs the ends of the range, which are known after all batches were seen once
        passes = 1 if self.percentile >= 100 else 2
        with job.progress.track("calibrating", passes * len(batches)) as bar, torch.no_grad():
            for number in range(passes):
                for value in values:
                    value.counting = number == 1
                for batch in batches:
                    answer(graph, batch)
                    bar.advance()
        for value in values:
            value.settle(self.percentile)
