"""What a task is: one object that answers every question which depends on it, without PyTorch.

Its face towards PyTorch, the losses, is a head of :mod:`imbik.training.heads`; how to add a task: ``docs/tasks.md``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from imbik.errors import UserError
from imbik.tasks.answers.records import flat
from imbik.tasks.label_cells import LabelCells, LabelledRows
from imbik.tasks.metrics import Metric
from imbik.tasks.outputs import TEXTS, Array, Output, Outputs
from imbik.types import Note, TakeNote

Decoded: TypeAlias = Outputs
"""What the outputs of N texts mean: probabilities (N, L), values, or several arrays by name whose first axis is N."""

Answer = dict[str, Any]
"""What is said of one text, as JSON's own types: ``{"value": 0.3}``, ``{"labels": [{"label": …, "probability": …}]}``."""


class Asked(NamedTuple):
    """What a model was asked: without it, outputs of a task whose answers lie in the texts mean nothing.

    Attributes:
        labels: label names in the order of the logits.
        texts: the N texts.
        pairs: their second texts.
    """

    labels: Sequence[str] = ()
    texts: Sequence[str] = ()
    pairs: Sequence[str] | None = None


NOTHING = Asked()
"""For tasks whose outputs speak for themselves."""


class ModelConfig(Protocol):
    """What a task looks at in a transformers config to know whether a model was made for it."""

    problem_type: str | None
    num_labels: int


class TokenPlaces(Protocol):
    """Encoded texts, as far as a task looks at them to find its targets among the tokens."""

    def __len__(self) -> int:
        """N."""

    @property
    def owners(self) -> NDArray[np.int64] | None:
        """The text of each row, ``(N,)``, where rows are windows of texts; None: every text is one row."""

    def places(self, row: int) -> NDArray[np.int32]:
        """Where the tokens of a row stand, see :func:`imbik.tasks.spans.places.places_of`."""


class Task(ABC):
    """A task without its data. Subclass it, name what differs from one row of logits per text, and register it.

    Attributes:
        name: as ``--task`` and ``results.json`` have it.
        architecture: transformers' name of the head: ``AutoModelFor<architecture>`` makes its models.
        problem_type: transformers' ``config.problem_type`` for it, if any.
        plain_models: whether a model that names no task of imbik's, only transformers' head and problem type, is taken for one of this
            task; False: its models are known by what imbik wrote beside them, so that a new task takes over nobody's models.
        reads: what its rows hold: :data:`TEXTS`, or :data:`imbik.tasks.outputs.IMAGES` (which then stand where the texts of others do).
        outputs: the arrays that its models give.
        places: whether its answers lie in the texts: outputs then carry :data:`imbik.tasks.outputs.PLACES`.
        metrics: what its quality may be stated in; the first is the default.
        ranking_metrics: the same of data that are queries and documents, where its models can rank.
        decides: whether its models may give no answer, see :meth:`settle`.
        overlap: share of the model's length that neighboring windows of a long text have in common; 0: long texts are cut, not windowed.
        pairs: whether each row needs two texts.
        apart: whether its models read the two texts of a row each on its own. The label is then of both, and no text has one by itself:
            such models learn from a teacher alone, see :meth:`drawn`.
        label_names: names by which a label column is guessed, in tiers; empty: those of :mod:`imbik.data.columns`.
        few_values: whether label cells repeat a set of values (classes); False: every row may have its own, however many rows.
        record_types: types of the fields of :meth:`records` (not numbered), for files that state them; others are texts. ``list``: numbers.
        library: what opens a plain folder of its models, as the hub calls it; see :meth:`opening`.
        example: one line of Python that shows the answer ``row`` of a model (``manifest`` beside it), for an artefact's README;
            empty: the README has no code without imbik.
    """

    name: ClassVar[str]
    architecture: ClassVar[str]
    problem_type: ClassVar[str | None] = None
    plain_models: ClassVar[bool] = False
    reads: ClassVar[str] = TEXTS
    outputs: ClassVar[tuple[Output, ...]] = (Output(),)
    places: ClassVar[bool] = False
    decides: ClassVar[bool] = False
    overlap: ClassVar[float] = 0.0
    metrics: ClassVar[tuple[Metric, ...]]
    ranking_metrics: ClassVar[tuple[Metric, ...]] = ()
    pairs: ClassVar[bool] = False
    apart: ClassVar[bool] = False
    label_names: ClassVar[tuple[tuple[str, ...], ...]] = ()
    few_values: ClassVar[bool] = True
    record_types: ClassVar[Mapping[str, type]] = {}
    library: ClassVar[str] = "transformers"
    example: ClassVar[str] = ""

    @property
    def one_row(self) -> bool:
        """Whether its models give one row of numbers a text, and nothing else."""
        return len(self.outputs) == 1 and not self.outputs[0].per_token and not self.places

    # --- from data to targets

    def recognize(self, columns: Sequence[LabelCells], labels: Sequence[str] | None) -> float:
        """Return how clearly label columns speak for this task, 0 to 1. The most is guessed, a tie left to the user; 0: it must be named.

        Args:
            columns: the label columns of train.
            labels: the names that a teacher knows, if any.
        """
        return 0.0

    def reason(self, columns: Sequence[LabelCells], labels: Sequence[str] | None) -> str:
        """Return what made :meth:`recognize` claim the columns, in a few words that stand behind the guess; empty: nothing to say."""
        return ""

    @abstractmethod
    def read_targets(
        self, splits: Mapping[str, LabelledRows], labels: Sequence[str] | None, say: TakeNote, *, exact: bool = True
    ) -> tuple[dict[str, Array], tuple[str, ...]]:
        """Return the targets of every split, and the label names in the order of their indices.

        Args:
            splits: the labelled splits; train, or what stands for it, first.
            labels: the names to use, in order (a teacher's); None: those of the first split.
            say: takes a note for the user.
            exact: whether the data must have every one of ``labels``.

        Returns:
            Arrays whose first axis is the split's rows (possibly ragged), and at least one name.

        Raises:
            UserError: a label that cannot be read, or that is not one of ``labels``; with file, row and column.
        """

    def codes(self, targets: Array) -> NDArray[np.int64] | None:
        """Return a number per row, (N,), equal where targets are equal, to find one text with two labels; None: they may differ."""
        return None

    def strata(self, targets: Array) -> NDArray[np.int64]:
        """Return the group that each row is dealt from when a split is made, (N,)."""
        return np.zeros(len(targets), np.int64)

    def together(self, rows: LabelledRows) -> NDArray[np.int64] | None:
        """Return a number for each row, (N,), equal for rows that a cut must not part; None: any may be parted."""
        return None

    def settle(self, decoded: Decoded, targets: Array, metric: Metric) -> float | None:
        """Return the number by which a trained model decides to give no answer, chosen on dev; None: it has none to decide.

        It is kept in the model's config and travels with the outputs as :data:`imbik.tasks.outputs.DECISION`.

        Args:
            decoded: of dev, without any decision.
            targets: of dev.
            metric: what it is chosen by.
        """
        return None

    def token_targets(self, targets: Array, encoded: TokenPlaces, asked: Asked = NOTHING) -> Array:
        """Return what the head's loss is given of each row: the targets, or their places among the tokens (-100: not to be learned).

        Args:
            targets: of the first texts; behind them may stand texts without targets.
            encoded: the texts, or windows of them.
            asked: the labels and the texts with targets.
        """
        return targets

    # --- from outputs to answers

    @abstractmethod
    def decode(self, outputs: Outputs, asked: Asked = NOTHING) -> Decoded:
        """Return what the outputs of N texts mean, such as probabilities (N, L): what a predictor's user is given.

        Args:
            outputs: of the model.
            asked: the labels and the texts; needed by tasks that look at them.
        """

    @abstractmethod
    def predicted(self, decoded: Decoded) -> Array:
        """Return the predictions in what :meth:`decode` gave, in the form of the targets: (N, …)."""

    def drawn(self, decoded: Decoded, seed: int) -> Array:
        """Return targets for texts without labels, drawn with a seed from what a teacher says of them; the predictions by default.

        Args:
            decoded, seed: of the teacher, and of the draw, where there is one.
        """
        return self.predicted(decoded)

    def width(self, decoded: Decoded) -> int:
        """Return L for metrics that count label indices; 0 where none does."""
        return 0

    def metric(self, name: str | None = None) -> Metric:
        """Return a metric by name; None: the default.

        Raises:
            UserError: the task has no such metric.
        """
        known = {metric.name: metric for metric in (*self.metrics, *self.ranking_metrics)}
        if name is None:
            return self.metrics[0]
        if name not in known:
            raise UserError(f"no such metric for {self.name}", where="--metric", found=name, expected=" or ".join(known))
        return known[name]

    def metric_of(self, targets: Array, name: str | None = None) -> Metric:
        """Return a metric by name that fits the targets, or is refused; None: the default of such targets. Raises as :meth:`metric`."""
        return self.metric(name)

    def score(self, metric: str | None, decoded: Decoded, targets: Array) -> float:
        """Compute the quality of answers against targets, one number.

        Args:
            metric: its name; None: the default.
            decoded: of :meth:`decode`.
            targets: as :class:`imbik.types.Examples` has them.

        Raises:
            UserError: the task has no such metric.
        """
        return self.metric(metric).score(self.predicted(decoded), targets, self.width(decoded))

    def agreement(self, one: Outputs, other: Outputs) -> float | None:
        """Compute the share of equal predictions of two models, None where equality means nothing.

        Predictions with several numbers a row are compared number by number.
        """
        return float(np.mean(self.predicted(self.decode(one)) == self.predicted(self.decode(other))))

    def calibration(self, decoded: Decoded, targets: Array) -> float | None:
        """Compute the expected calibration error; None where no probabilities are stated."""
        return None

    def per_class(self, decoded: Decoded, targets: Array, labels: Sequence[str]) -> Mapping[str, Mapping[str, float]] | None:
        """Compute ``precision``, ``recall``, ``f1`` and ``support`` of every label by name; None where there are no classes."""
        return None

    def one_label(self, outputs: Outputs) -> NDArray[np.int64] | None:
        """Return the index of the one label that each text is answered with, (N,); None where an answer is not one label."""
        return None

    def weakness(self, decoded: Decoded, targets: Array) -> Note | None:
        """Return a note where an answer that looks at no text would be as good; None: nothing to say."""
        return None

    # --- what a user sees

    @abstractmethod
    def answers(self, decoded: Decoded, labels: Sequence[str], texts: Sequence[str], pairs: Sequence[str] | None, top: int) -> list[Answer]:
        """Return what is said of each text, in JSON's own types.

        Args:
            decoded: of :meth:`decode`.
            labels: the label names.
            texts: the N texts, and their second texts in ``pairs``.
            top: at most so many labels of each.
        """

    @abstractmethod
    def lines(self, answer: Answer) -> list[tuple[str, float]]:
        """Return an answer as lines of a table: what is said, and how sure it is (or the value)."""

    def records(self, answer: Answer) -> list[dict[str, Any]]:
        """Return an answer as rows of a table, each with the same columns: one row, a list's items numbered from the second on."""
        return [flat(answer)]

    def columns(self, decoded: Decoded, labels: Sequence[str], top: int) -> dict[str, Sequence[Any]] | None:
        """Return :meth:`records` of N texts (see :meth:`answers`) column by column, many times as fast; None: only row by row."""
        return None

    def opening(self, folder: str) -> list[str]:
        """Return the lines of Python that open a plain folder of its models without imbik."""
        auto = f"AutoModelFor{self.architecture}"
        opened = [f'{name} = {kind}.from_pretrained("{folder}")' for name, kind in (("model", auto), ("tokenizer", "AutoTokenizer"))]
        return [f"from transformers import {auto}, AutoTokenizer", "", *opened]

    def fits(self, config: ModelConfig) -> bool:
        """Return whether a model with this task's head was made for it."""
        return self.problem_type is None or config.problem_type == self.problem_type
