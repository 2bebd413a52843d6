"""The parity gate: what an artefact computes against its checkpoint, and a quantized one against its float parent."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from imbik.data.batches import token_batches
from imbik.errors import UserError
from imbik.models.hooks import evaluating
from imbik.models.units import units_of
from imbik.runtime.engines.pytorch import TorchSession
from imbik.runtime.manifest import BATCH_TOKENS
from imbik.runtime.predictor import Predictor, load_artefact, predictor_of
from imbik.tasks.outputs import Outputs, chained, numbers_of, take
from imbik.tasks.registry import task_of
from imbik.tasks.retention import agreement
from imbik.training.encoding import Encoded, Pixels, encode_for
from imbik.types import Checkpoint, Examples

TOLERANCE = 1e-3
"""Largest difference of logits, relative to the largest logit, that a float artefact may have from PyTorch."""

TOLERANCE_BF16 = 5e-2
"""The same for one that computes in bfloat16, whose numbers have eight significant bits."""

_ROUNDS, _REQUESTS, _SECONDS = 3, 32, 4.0


ALONE = 32
"""Texts that PyTorch answers one by one, beside no others."""

LEAST_AGREEMENT = 0.8
"""Share of equal labels below which a quantized artefact has collapsed; chance is given its due by the interval of the share."""


class ParityError(UserError):
    """An artefact does not compute what its checkpoint computes."""


@dataclass(frozen=True)
class Gate:
    """What every artefact of one checkpoint must pass: its answers beside what PyTorch computes.

    Attributes:
        texts, pairs: what is asked.
        reference: the checkpoint's outputs on them in batches of unequal lengths, computed once.
        rows: the texts as training reads them; None: the artefact's tokens are not compared.
        alone: row -> the checkpoint's outputs on that text alone.
        center: what outputs are counted from when differences are compared with them: the mean of a regression's targets.
    """

    texts: Sequence[str]
    pairs: Sequence[str] | None
    reference: Outputs
    rows: Encoded | None = None
    alone: Mapping[int, Outputs] = field(default_factory=dict)
    center: float = 0.0

    @classmethod
    def of(
        cls,
        checkpoint: Checkpoint,
        tokenizer: Tokenizer,
        manifest: Mapping[str, Any],
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
    ) -> Gate:
        """Return the gate of a checkpoint; where it gives one row a text, its answers are computed as training reads texts.

        Args:
            checkpoint: it comes back as it was.
            tokenizer: the checkpoint's; it comes back as it was, too.
            manifest: the fields that do not depend on an engine (:func:`imbik.models.facts.manifest_of`), and an engine's name.
            texts, pairs: what is asked.
        """
        session = TorchSession(checkpoint.model, manifest["inputs"], task=checkpoint.task)
        with evaluating(checkpoint.model):
            if not task_of(checkpoint.task).one_row:
                return cls(texts, pairs, predictor_of(manifest, Tokenizer.from_str(tokenizer.to_str()), session).scores(texts, pairs))
            rows = encode_for(checkpoint.task, Examples(texts, pairs, None, ""), checkpoint.tokenizer)
            singles = range(0, len(texts), -(-len(texts) // ALONE)) if texts else range(0)
            reference = _asked(session, rows, np.arange(len(texts)))
            alone = {row: _asked(session, rows, np.array([row])) for row in singles}
        units = units_of(checkpoint.model.config)
        return cls(texts, pairs, reference, rows, alone, 0.0 if units is None else units.mean)

    def check(self, directory: Path, least: float | None = None) -> dict[str, Any]:
        """Compare an artefact with its checkpoint, and its answers to texts alone with those beside others.

        Args:
            directory: of the artefact.
            least: share of labels that a quantized one must answer alike; None: whatever it keeps.

        Returns:
            ``max_abs`` (largest difference of logits), ``max_abs_relative`` (to the largest logit), ``agreement`` (share of equal labels;
            None for regression), ``texts``, ``int8_ops``, ``float_matmuls`` (products with a weight left in float) and ``reverted``
            (operators put back to float); ``alone`` (``max_abs``, ``max_abs_relative`` and ``agreement`` of its answers to
            texts one by one with those in batches).

        Raises:
            ParityError: the artefact reads other tokens; it is a float one and differs (by more than bfloat16 explains, where it
                computes in that); or a quantized one that has collapsed.
        """
        artefact = load_artefact(directory)
        manifest = artefact.manifest
        self._check_tokens(artefact)
        found = artefact.scores(self.texts, self.pairs)
        worst = float(np.abs(numbers_of(found) - numbers_of(self.reference)).max())
        relative = worst / self._size()
        same = agreement(manifest["task"], found, self.reference)
        quantized = bool(manifest["quantisation"])
        low = manifest["precision"] == "bf16"
        wrong = not np.isfinite(worst) or relative > (TOLERANCE_BF16 if low else TOLERANCE)
        differs = same is not None and same < (0.97 if low else 0.999) and relative > 1e-5
        if not quantized and (wrong or differs):
            raise ParityError(
                f"logits differ from PyTorch's by up to {worst:.2e} ({relative:.1e} of the largest), "
                f"equal labels on {same if same is not None else 1:.1%} of {len(self.texts)} texts",
                where=manifest["engine"],
                fix="choose another engine with --engine; this one computes something else for this model",
            )
        if quantized and least is not None:
            _check_kept(manifest, found, self.reference, same, least)
        beside = self._alone(artefact, found, TOLERANCE_BF16 if low else TOLERANCE) if self.rows is not None else {}
        graph = manifest["graph"]
        return {
            "max_abs": worst,
            "max_abs_relative": relative,
            "agreement": same,
            "texts": len(self.texts),
            "int8_ops": graph["int8_ops"],
            "float_matmuls": graph["float_matmuls"],
            "reverted": [],
            **beside,
        }

    def _size(self) -> float:
        """Return the largest output, counted from the center; in float64, as float32 has few digits left far from zero."""
        return max(float(np.abs(numbers_of(self.reference).astype(np.float64) - self.center).max()), 1e-6)

    def _check_tokens(self, artefact: Predictor) -> None:
        """Refuse an artefact that cuts or tokenizes a text otherwise than training does.

        Raises:
            ParityError: naming the first such text.
        """
        if self.rows is None:
            return
        if isinstance(self.rows, Pixels):
            self._check_pixels(artefact, self.rows)
            return
        for row, encoding in enumerate(artefact.encode(self.texts, self.pairs)):
            expected = self.rows.row(row)
            if list(encoding.ids or expected[:1]) != expected:
                raise ParityError(
                    "the artefact reads a text as other tokens than training does",
                    where=artefact.engine,
                    found=f"text {row}: {encoding.ids[:8]}…",
                    expected=f"{expected[:8]}…",
                )

    def _check_pixels(self, artefact: Predictor, rows: Pixels) -> None:
        """Refuse an artefact that prepares an image otherwise than training does, by more than one gray level.

        Raises:
            ParityError: naming the first such image.
        """
        for row, levels in enumerate(artefact.encode(self.texts)):
            expected = np.array(rows.row(row)).reshape(levels.shape)
            gap = int(np.abs(levels.astype(int) - expected).max())
            if gap > 1:
                problem = "the artefact prepares an image otherwise than training does"
                raise ParityError(problem, where=artefact.engine, found=f"image {row}: {gap} gray levels apart", expected="1 or less")

    def _alone(self, artefact: Predictor, found: Outputs, tolerance: float) -> dict[str, Any]:
        """Ask each text alone, and compare with PyTorch's answers to it alone and with the artefact's own beside others.

        Raises:
            ParityError: a float artefact answers a text alone otherwise than PyTorch does.
        """
        scale = self._size()
        # MobileBERT looks at neighbors of a token, padding among them: what PyTorch itself differs by is not the artefact's fault
        own = max((_gap(one, take(self.reference, slice(row, row + 1))) for row, one in self.alone.items()), default=0.0)
        gaps, equal = [0.0], []
        for row in range(len(self.texts)):
            pairs = None if self.pairs is None else self.pairs[row : row + 1]
            one, beside = artefact.scores(self.texts[row : row + 1], pairs), take(found, slice(row, row + 1))
            gaps.append(_gap(one, beside))
            equal.append(agreement(artefact.task, one, beside))
            off = _gap(one, self.alone[row]) if row in self.alone and not artefact.manifest["quantisation"] else 0.0
            if not off <= tolerance * scale + own:
                raise ParityError(
                    f"logits of a text alone differ from PyTorch's by {off:.2e} ({off / scale:.1e} of the largest)",
                    where=artefact.engine,
                    found=f"text {row}",
                )
        known = [same for same in equal if same is not None]
        same = float(np.mean(known)) if known else None
        return {"alone": {"max_abs": max(gaps), "max_abs_relative": max(gaps) / scale, "agreement": same, "texts": len(self.texts)}}


def _gap(one: Outputs, other: Outputs) -> float:
    """Return the largest difference of two models' outputs."""
    return float(np.abs(numbers_of(one) - numbers_of(other)).max())


def _asked(session: TorchSession, data: Encoded, rows: NDArray[np.int64]) -> Outputs:
    """Return a model's logits on some rows, in float32 and in batches as artefacts make them."""
    found: dict[int, Outputs] = {}
    for chosen in token_batches(data.lengths[rows], BATCH_TOKENS):
        batch = data.batch(rows[chosen])
        logits = session.compute({name: batch[name] for name in session.names})
        found |= {int(row): take(logits, [place]) for place, row in enumerate(chosen)}
    return chained([found[row] for row in range(len(rows))])


def _check_kept(manifest: Mapping[str, Any], found: Outputs, reference: Outputs, same: float | None, least: float) -> None:
    """Refuse a quantized artefact of which little is left.

    Where answers are one label each, the share of equal labels counts, by the upper end of its 95 % interval (Wilson 1927), so that
    five texts refuse no model by chance. Else the outputs must explain some of how PyTorch's differ from text to text.

    Raises:
        ParityError: with what is left.
    """
    kind, count = task_of(manifest["task"]), len(numbers_of(reference))
    if same is not None and kind.one_label(reference) is not None:
        rows = len(np.asarray(kind.one_label(reference)))
        if wilson_upper(same, rows) >= least:
            return
        left = f"equal labels on {same:.1%} of {rows} texts"
    else:
        numbers, given = numbers_of(reference).astype(np.float64), numbers_of(found).astype(np.float64)
        spread = float(((numbers - numbers.mean()) ** 2).sum())
        error = float(((numbers - given) ** 2).sum())
        if count < 2 or error <= spread:
            return
        left = f"its outputs are off by {error / max(spread, 1e-30):.1f} times of what PyTorch's differ from one another"
    raise ParityError(
        "the quantized model answers otherwise than the one it was made of",
        where=manifest["engine"],
        found=left,
        expected=f"equal labels on {least:.0%} or more, or outputs that follow PyTorch's",
        fix="choose another scheme (--quantize static or weight-only), or use imbik compress, which puts operators back to float",
    )


def wilson_upper(share: float, count: int) -> float:
    """Compute the upper end of the 95 % interval of a share of ``count`` (Wilson 1927).

    >>> round(wilson_upper(0.4, 5), 3), round(wilson_upper(0.05, 200), 3)
    (0.769, 0.09)
    """
    z = 1.959964
    middle = share + z**2 / (2 * count)
    return (middle + z * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))) / (1 + z**2 / count)


def side_by_side(floats: Predictor, quantized: Predictor, texts: Sequence[str], pairs: Sequence[str] | None) -> dict[str, Any]:
    """Both models in turn on the same texts: is the quantized one faster on this machine?

    Returns:
        ``float_p50_ms`` and ``p50_ms`` of single requests, ``float_items_per_s`` and ``items_per_s`` of all texts in batches, and
        ``slower``: whether single requests became slower.
    """
    models = {"float_": floats, "": quantized}
    single: dict[str, list[float]] = {name: [] for name in models}
    rates: dict[str, list[float]] = {name: [] for name in models}
    for model in models.values():
        model.scores(texts, pairs)  # buffers of every shape are allocated here, not in the timing
    end = time.perf_counter() + _SECONDS
    for number in range(_ROUNDS):
        for name, model in list(models.items())[:: 1 if number % 2 else -1]:
            for row in range(min(_REQUESTS, len(texts))):
                began = time.perf_counter()
                model.scores(texts[row : row + 1], None if pairs is None else pairs[row : row + 1])
                single[name].append(1000 * (time.perf_counter() - began))
            began = time.perf_counter()
            model.scores(texts, pairs)
            rates[name].append(len(texts) / (time.perf_counter() - began))
        if time.perf_counter() > end:
            break
    found: dict[str, Any] = {f"{name}p50_ms": statistics.median(values) for name, values in single.items()}
    found |= {f"{name}items_per_s": statistics.median(values) for name, values in rates.items()}
    return found | {"slower": found["p50_ms"] > found["float_p50_ms"]}
