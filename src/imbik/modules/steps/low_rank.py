"""Low rank: matrices, kernels, tables and the input weights of recurrent layers become products of smaller ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt, Lt
from pydantic import model_validator
from torch import Tensor, nn

from imbik.errors import UserError
from imbik.factorization.ranks import Point, buy
from imbik.models.hooks import put_everywhere
from imbik.modules.arguments import answer
from imbik.modules.factors.convolutions import ChannelProduct, SpaceProduct, TuckerProduct
from imbik.modules.factors.matrices import Choice, Factorizable, LinearProduct, RecurrentProduct, TableProduct, Work
from imbik.modules.places import chosen, tied_weights
from imbik.modules.step import Change, Job, ModuleStep, distance, module_step, refuse_nothing


@module_step("low_rank")
class LowRank(ModuleStep):
    """Every Linear, convolution, embedding table and recurrent layer becomes a product of smaller ones where that is smaller.

    A Linear W (m × n) becomes U V, U (m × r) and V (r × n), by its singular values. A convolution is factorized by ``channel``, by
    ``space`` or as ``tucker`` (:mod:`imbik.factorization.kernels`). A table (V × E) becomes V × r and r × E. What the first layer of an
    LSTM, GRU or RNN multiplies its input by becomes a product for all gates at once.

    Sizes: the same ``rank`` for all; a ``share`` of each layer's own cost; the least rank that keeps an ``energy`` of the squared
    weights; or one ``budget`` for all layers by measured sensitivity: each is cut alone, the change of the module's answers on the first
    batches tells what its lost energy costs, and ranks are bought where they save most (:func:`imbik.factorization.ranks.buy`).

    Attributes:
        convolutions: how convolutions are factorized.
        rank, share, energy, budget: exactly one of them.
        measure: what is counted: ``parameters``, or multiplications on the example (``macs``).
        exclude: paths of modules that stay as they are, with all inside.
    """

    convolutions: Literal["channel", "space", "tucker"] = "tucker"
    rank: Annotated[int, Ge(1)] | None = None
    share: Annotated[float, Gt(0), Lt(1)] | None = None
    energy: Annotated[float, Gt(0), Lt(1)] | None = None
    budget: Annotated[float, Gt(0), Lt(1)] | None = None
    measure: Literal["parameters", "macs"] = "parameters"
    exclude: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _one_size(self) -> LowRank:
        if sum(value is not None for value in (self.rank, self.share, self.energy, self.budget)) != 1:
            raise ValueError("exactly one of rank, share, energy and budget")
        return self

    def apply(self, model: nn.Module, job: Job) -> Change:
        """Factorize in place.

        Raises:
            UserError: nothing would become smaller, or the budget is below the smallest ranks.
        """
        change = Change(model)
        layers = self._layers(model, job, change)
        picked = self._budgeted(model, job, layers) if self.budget is not None else {n: self._own(one) for n, one in layers.items()}
        for path, layer in layers.items():
            choice = picked[path]
            if choice is None:
                change.kept[path] = "the settings leave it whole" if layer.choices else "no rank makes it smaller"
                continue
            put_everywhere(model, path, layer.layer(choice.ranks).train(layer.module.training))
            change.layers[path] = f"rank {' × '.join(map(str, choice.ranks))}, {choice.loss:.1%} of the squared weights lost"
        return refuse_nothing(change, self, model)

    def _layers(self, model: nn.Module, job: Job, change: Change) -> dict[str, Factorizable]:
        # counted on the example once, for all layers
        works = _works(model, job) if self.measure == "macs" else {}
        shared = tied_weights(model)
        layers: dict[str, Factorizable] = {}
        for path, module in chosen(model, self.exclude):
            made = self._factorizable(module, works.get(path, Work()))
            if made is None:
                continue
            if isinstance(made, str) or path in shared:
                change.kept[path] = made if isinstance(made, str) else "another module uses its weights too"
            else:
                layers[path] = made
        return layers

    def _factorizable(self, module: nn.Module, work: Work) -> Factorizable | str | None:
        """Return the layer as what can be factorized, the reason why it cannot, or None for other kinds."""
        # exact types: a subclass may have a forward of its own
        if type(module) is nn.Linear:
            return LinearProduct(module, work)
        if type(module) in (nn.Conv1d, nn.Conv2d):
            return self._convolution(module, work)
        if type(module) is nn.Embedding:
            plain = module.max_norm is None and not module.sparse and not module.scale_grad_by_freq
            if self.measure == "macs":
                return "a table that is looked up multiplies nothing"
            return TableProduct(module, work) if plain else "the table has settings that a product cannot have"
        if type(module) in (nn.LSTM, nn.GRU, nn.RNN):
            return RecurrentProduct(module, work)
        return None

    def _convolution(self, module: Any, work: Work) -> Factorizable | str:
        if module.groups > 1:
            return "its channels are in groups, which are small products already"
        # a 1 × 1 kernel is a matrix: there is one way to factorize it
        if module.weight[0, 0].numel() == 1:
            return ChannelProduct(module, work)
        if self.convolutions == "tucker":
            return TuckerProduct(module, work)
        if self.convolutions == "space" and isinstance(module, nn.Conv2d):
            return SpaceProduct(module, work)
        return ChannelProduct(module, work)

    def _own(self, layer: Factorizable) -> Choice | None:
        """Return the choice of one layer where each has its own; None leaves it."""
        choices = layer.choices
        if self.rank is not None:
            wanted = self.rank
            fitting = [one for one in choices if max(one.ranks) <= wanted]
            # of the allowed ones the largest; a layer that is smaller than the rank stays
            return fitting[-1] if fitting and any(max(one.ranks) >= wanted for one in choices) else None
        if self.share is not None:
            return next((one for one in reversed(choices) if one.cost <= self.share * layer.dense), None)
        assert self.energy is not None
        return next((one for one in choices if one.loss <= 1 - self.energy), None)

    def _budgeted(self, model: nn.Module, job: Job, layers: Mapping[str, Factorizable]) -> dict[str, Choice | None]:
        """Return choices under one budget, by measured sensitivity."""
        assert self.budget is not None
        before = job.answers(model)
        # index -1: the layer as it is, which costs most and loses nothing
        points: list[list[Point]] = []
        with job.progress.track("sensitivity", len(layers)) as bar:
            for path, layer in layers.items():
                cost = self._sensitivity(model, job, path, layer, before) if layer.choices else 0.0
                points.append([(one.cost, cost * one.loss, index) for index, one in enumerate(layer.choices)] + [(layer.dense, 0.0, -1)])
                bar.advance()
        dense = sum(layer.dense for layer in layers.values())
        bought = buy(points, self.budget * dense)
        if bought is None:
            least = sum(one[0][0] for one in points) / max(dense, 1.0)
            expected = f"above {least:.3f}"
            raise UserError("the budget is below the smallest ranks", where="low_rank.budget", found=self.budget, expected=expected)
        return {
            path: layer.choices[index] if index < len(layer.choices) else None
            for (path, layer), index in zip(layers.items(), bought, strict=True)
        }

    def _sensitivity(self, model: nn.Module, job: Job, path: str, layer: Factorizable, before: Any) -> float:
        """Measure how far the answers move per share of this layer's energy that is lost, near the rank that it may get."""
        # where the budget would put it if all were alike
        near = next((one for one in reversed(layer.choices) if one.cost <= (self.budget or 1.0) * layer.dense), layer.choices[0])
        # in place and back again: a copy of the model per layer would cost far more than the run
        put_everywhere(model, path, layer.layer(near.ranks).train(layer.module.training))
        try:
            after = job.answers(model)
        finally:
            put_everywhere(model, path, layer.module)
        return distance(after, before) / max(near.loss, 1e-9)


def _works(model: nn.Module, job: Job) -> dict[str, Work]:
    """Count where each layer's weights are used when the module runs on the example."""
    found: dict[str, Work] = {}
    names = {id(module): path for path, module in model.named_modules()}

    def note(module: nn.Module, inputs: tuple[Any, ...], output: object) -> None:
        x, y = inputs[0], output[0] if isinstance(output, tuple) else output
        if not isinstance(x, Tensor) or not isinstance(y, Tensor):
            return
        # images (B, C, H, W), all else (…, C)
        channels = 1 if isinstance(module, nn.Conv1d | nn.Conv2d) else -1
        before, after = x.numel() / x.shape[channels], y.numel() / y.shape[channels]
        # a column kernel has moved along the height alone
        between = before * y.shape[-2] / x.shape[-2] if isinstance(module, nn.Conv2d) else after
        # summed up: a layer that runs twice works twice
        old = found.get(names[id(module)], Work(0.0, 0.0, 0.0))
        found[names[id(module)]] = Work(old.before + before, old.between + between, old.after + after)

    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.RNNBase)
    handles = [module.register_forward_hook(note) for module in model.modules() if isinstance(module, kinds)]
    try:
        with torch.no_grad():
            answer(model, job.example)
    finally:
        for handle in handles:
            handle.remove()
    return found
