"""Tiny models, tokenizers and data for tests."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoConfig, PreTrainedTokenizerFast

from imbik.jobs.progress import Silent
from imbik.models.checkpoint import set_labels
from imbik.models.pretrained import empty_model
from imbik.models.teacher import Teacher
from imbik.tasks.registry import DEFAULT, task_of
from imbik.testing.task_examples import TASK_EXAMPLES, TaskExample
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
    task: TaskName = DEFAULT,
    *,
    family: str = "bert",
    layers: int = 4,
    hidden: int = 32,
    heads: int = 2,
    seed: int = 0,
) -> Checkpoint:
    """Return a random model of a task that answers in milliseconds.

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
        # twice the tokenizer's length: RoBERTa-like models begin counting behind their padding id
        max_position_embeddings=64,
        pad_token_id=0,
        **narrow,
    )
    set_labels(config, task, labels)
    model = empty_model(config, task)
    for parameter in model.parameters():  # larger weights than BERT's 0.02, so that the logits of a random model differ by text
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.15)
    return Checkpoint(model.eval(), tokenizer, task)


def tiny_splits(
    task: TaskName = DEFAULT, rows: int = 60, pairs: bool = False, seed: int = 0, *, example: TaskExample | None = None
) -> Splits:
    """Return random word sequences; the target follows from the words, so that something can be learned.

    Args:
        task: its name.
        rows: of train; dev and test have half as many.
        pairs: whether rows have two texts.
        seed: of the words.
        example: the task's labels and targets; default: its entry in :data:`imbik.testing.task_examples.TASK_EXAMPLES`.
    """
    generator = random.Random(seed)
    example = example or TASK_EXAMPLES[task]

    def part(name: str, count: int) -> Examples:
        if example.rows is not None:
            rows = example.rows(count, generator.randrange(1 << 30))
            return Examples(rows, None, example.targets(rows, None), f"tiny-{name}-{task}-{count}-{seed}")
        texts = [" ".join(generator.choices(WORDS, k=generator.randint(1, 9))) for _ in range(count)]
        seconds = [" ".join(generator.choices(WORDS, k=generator.randint(1, 5))) for _ in range(count)] if pairs else None
        return Examples(texts, seconds, example.targets(texts, seconds), f"tiny-{name}-{task}-{count}-{seed}")

    train, dev, test = part("train", rows), part("dev", rows // 2), part("test", rows // 2)
    metric = task_of(task).metric().name
    return Splits(train, dev, test, task, example.labels, metric, "tiny", f"tiny-{task}-{rows}-{pairs}-{seed}")


def tiny_context(teacher: Checkpoint, splits: Splits, directory: Path, seed: int = 0) -> Context:
    """A context as :mod:`imbik.compress.run` would give it."""
    teacher = Teacher.of(teacher)
    cache = TeacherCache(directory / "teacher", teacher)
    # so many seconds between states that a test never writes one by chance
    return Context(teacher, splits, cache, seed, Silent(), directory / "step", directory / "shared", save_every=1e9)


def logits_of(checkpoint: Checkpoint, examples: Examples) -> NDArray[np.float32]:
    """Return logits ``(N, L)`` of every row, of a checkpoint that gives one row of logits a text."""
    return predict_logits(checkpoint.model, encode(examples, checkpoint.tokenizer))
