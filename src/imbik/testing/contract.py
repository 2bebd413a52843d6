"""What an author of a method runs on it, in our tests and outside of them: tiny models, tiny data, and the contract as checks."""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedTokenizerFast

from imbik.jobs.progress import Silent
from imbik.methods import make_method, registered
from imbik.models.checkpoint import load_checkpoint, save_checkpoint, set_labels
from imbik.recipes.recipe import dump_recipe, parse_recipe
from imbik.students.catalogue import make_student
from imbik.training.context import Context
from imbik.training.encoding import encode
from imbik.training.loop import predict_logits
from imbik.training.teacher_cache import TeacherCache
from imbik.types import Checkpoint, Examples, Recipe, Splits, Step, TaskName

WORDS = [
    "the",
    "a",
    "my",
    "your",
    "card",
    "account",
    "money",
    "bank",
    "pay",
    "paid",
    "lost",
    "found",
    "late",
    "early",
    "good",
    "bad",
    "new",
    "old",
    "open",
    "close",
    "send",
    "got",
    "want",
    "need",
    "help",
    "please",
    "now",
    "today",
    "fee",
    "loan",
    "rate",
    "app",
    "pin",
    "code",
    "why",
    "when",
    "where",
    "how",
    "not",
    "never",
    "always",
    "very",
]


EXAMPLES: dict[str, dict[str, Any]] = {
    "cluster": {"values": 16},
    "distilbert": {"hard": 0.0},
    "distill": {"temperature": 2.0},
    "embedding": {"rank": 8},
    "low_rank": {"method": "svd", "budget": 0.5},
    "minilm": {"relations": ["qq", "vv"], "relation_heads": 4},
    "mobilebert": {"schedule": "joint"},
    "quantize": {"scheme": "dynamic"},
    "share": {"groups": 2, "init": "mean"},
    "tinybert": {"augment": {"masked_model": "none", "copies": 2}},
    "vocabulary": {"margin": 10},
}
"""Settings of one representative step of every method, fit for :func:`tiny_bert`: what the tests of all pairs run."""

EXAMPLE_STUDENTS = {"mobilebert": "mobilebert"}
"""What a method starts from in those tests where it does not take a copy of the teacher."""


def tiny_tokenizer(max_length: int = 32) -> PreTrainedTokenizerFast:
    """A WordPiece tokenizer over :data:`WORDS`, letters and digits: about 120 pieces, with BERT's special tokens."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    pieces += [p for p in [*letters, *(f"##{c}" for c in letters)] if p not in pieces]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=max_length,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def tiny_bert(
    labels: tuple[str, ...] = ("bad", "good", "other"),
    task: TaskName = "classification",
    *,
    family: str = "bert",
    layers: int = 4,
    hidden: int = 32,
    heads: int = 2,
    seed: int = 0,
) -> Checkpoint:
    """A random classifier that answers in milliseconds.

    Args:
        labels: its labels; one name for regression.
        task: see :data:`imbik.types.TaskName`.
        family: a transformers model type with BERT's setting names (``bert``, ``roberta``, ``electra``, …).
        layers, hidden, heads: its shape; the feed-forward width is twice the hidden one.
        seed: of its weights.
    """
    torch.manual_seed(seed)
    tokenizer = tiny_tokenizer()
    narrow = {"embedding_size": hidden // 2, "intra_bottleneck_size": hidden // 2} if family == "mobilebert" else {}
    config = AutoConfig.for_model(
        family,
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=2 * hidden,
        max_position_embeddings=64,
        pad_token_id=0,
        **narrow,
    )
    set_labels(config, task, labels)
    model = AutoModelForSequenceClassification.from_config(config, attn_implementation="eager", dtype=torch.float32)
    for parameter in model.parameters():  # larger weights than BERT's 0.02, so that the logits of a random model differ by text
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.15)
    return Checkpoint(model.eval(), tokenizer, task)


def tiny_splits(task: TaskName = "classification", rows: int = 60, pairs: bool = False, seed: int = 0) -> Splits:
    """Random word sequences; the label follows from the words, so that something can be learned."""
    generator = random.Random(seed)
    labels = ("score",) if task == "regression" else ("bad", "good", "other")

    def part(name: str, count: int) -> Examples:
        texts = [" ".join(generator.choices(WORDS, k=generator.randint(1, 9))) for _ in range(count)]
        seconds = [" ".join(generator.choices(WORDS, k=generator.randint(1, 5))) for _ in range(count)] if pairs else None
        return Examples(texts, seconds, _targets(texts, task), f"tiny-{name}-{task}-{count}-{seed}")

    train, dev, test = part("train", rows), part("dev", rows // 2), part("test", rows // 2)
    metric = {"classification": "accuracy", "multi-label": "micro-f1", "regression": "spearman"}[task]
    return Splits(train, dev, test, task, labels, metric, "tiny", f"tiny-{task}-{rows}-{pairs}-{seed}")


def _targets(texts: list[str], task: TaskName) -> NDArray[Any]:
    flags = np.array([["bad" in t or "late" in t, "good" in t or "new" in t, len(t) % 3 == 0] for t in texts], dtype=np.float32)
    if task == "multi-label":
        return flags
    if task == "regression":
        return np.array([len(t.split()) / 3 for t in texts], dtype=np.float32)
    return np.array([int(row.argmax()) if row.any() else 2 for row in flags], dtype=np.int64)


def tiny_context(teacher: Checkpoint, splits: Splits, directory: Path, seed: int = 0) -> Context:
    """A context as :mod:`imbik.compress.run` would give it."""
    return Context(
        teacher, splits, TeacherCache(directory / "teacher", teacher), seed, Silent(), directory / "step", directory / "shared", 1e9
    )


def quick(step: Step) -> Step:
    """The step with training cut to two short epochs, where it trains."""
    ((name, settings),) = step.items()
    fields = registered()[name].__dataclass_fields__
    short = {"epochs": 2} if "epochs" in fields else {}
    short |= {field: 12 for field in fields if field in ("bridge_steps", "transfer_steps", "predict_steps")}
    return {name: {**settings, **short}}


def logits_of(checkpoint: Checkpoint, examples: Examples) -> NDArray[np.float32]:
    """Logits ``(N, L)`` of every row."""
    logits: NDArray[np.float32] = predict_logits(checkpoint.model, encode(examples, checkpoint.tokenizer))
    return logits


def check_method(step: Step, directory: Path, *, teacher: Checkpoint | None = None, student: str | None = None) -> Checkpoint:
    """Run a registered method through the contract; an AssertionError says which clause it breaks.

    Checked: settings survive YAML; it runs; same labels, shape ``(N, L)`` and finite logits; the teacher is untouched; the same seed
    gives the same model; the result is saved and reloaded bit-equal.

    Args:
        step: e.g. ``{"distill": {"temperature": 2.0}}``; training is cut to two epochs.
        directory: empty.
        teacher: default: :func:`tiny_bert`.
        student: what the method starts from, for one that takes a certain kind only; default: a copy of the teacher.
    """
    step = quick(step)
    recipe = Recipe("checked", (step,))
    assert parse_recipe(dump_recipe(recipe), "checked") == recipe, "settings do not survive YAML"
    teacher = teacher or tiny_bert()
    splits = tiny_splits(teacher.task)
    before = copy.deepcopy(teacher.model.state_dict())
    results = []
    for run in ("first", "second"):
        torch.manual_seed(0)
        started = make_student(student, teacher, splits.train, 0)
        context = tiny_context(teacher, splits, directory / run)
        results.append(make_method(step, "checked").apply(started, context))
    first: Checkpoint = results[0]
    second: Checkpoint = results[1]
    _check_equal_state(teacher.model.state_dict(), before, "the teacher was changed")
    _check_equal_state(first.model.state_dict(), second.model.state_dict(), "the same seed gives another model")
    logits = logits_of(first, splits.test)
    assert logits.shape == (len(splits.test.texts), teacher.model.config.num_labels), f"logits have the shape {logits.shape}"
    assert np.isfinite(logits).all(), "logits are not finite"
    check_reload(first, directory / "saved", splits.test)
    return first


def check_reload(checkpoint: Checkpoint, directory: Path, examples: Examples) -> None:
    """Saved, loaded, and bit-equal in every weight and logit."""
    save_checkpoint(checkpoint, directory)
    loaded = load_checkpoint(directory)
    _check_equal_state(loaded.model.state_dict(), checkpoint.model.state_dict(), "a weight changed on the way through the disk")
    assert np.array_equal(logits_of(loaded, examples), logits_of(checkpoint, examples)), "logits changed on the way through the disk"


def _check_equal_state(one: dict[str, Any], other: dict[str, Any], message: str) -> None:
    assert one.keys() == other.keys(), message
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), f"{message}: {name}"


def sqnr(exact: NDArray[Any], approximate: NDArray[Any]) -> float:
    """Signal to quantisation noise in dB: 20 · log10(‖x‖ / ‖x - y‖).

    >>> round(sqnr(np.array([1.0, 0.0]), np.array([0.9, 0.0])))
    20
    """
    noise = float(np.linalg.norm(np.asarray(exact) - np.asarray(approximate)))
    return float("inf") if noise == 0 else 20 * float(np.log10(float(np.linalg.norm(exact)) / noise))
