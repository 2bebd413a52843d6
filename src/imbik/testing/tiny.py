"""Tiny models, tokenizers and data for tests."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedTokenizerFast

from imbik.jobs.progress import Silent
from imbik.models.checkpoint import set_labels
from imbik.models.teacher import Teacher
from imbik.training.context import Context
from imbik.training.encoding import encode
from imbik.training.prediction import predict_logits
from imbik.training.teacher_cache import TeacherCache
from imbik.types import Checkpoint, Examples, Splits, TaskName

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
    teacher = Teacher.of(teacher)
    cache = TeacherCache(directory / "teacher", teacher)
    return Context(teacher, splits, cache, seed, Silent(), directory / "step", directory / "shared", save_every=1e9)


def logits_of(checkpoint: Checkpoint, examples: Examples) -> NDArray[np.float32]:
    """Logits ``(N, L)`` of every row."""
    logits: NDArray[np.float32] = predict_logits(checkpoint.model, encode(examples, checkpoint.tokenizer))
    return logits
