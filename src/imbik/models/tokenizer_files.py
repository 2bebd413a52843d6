"""A tokenizer from its files, and whether a model's tables hold all that it can give."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers import AutoTokenizer

from imbik.errors import UserError, first_line
from imbik.jobs.quiet import quiet_transformers
from imbik.jobs.trust import TRUST, remote_code_trusted
from imbik.models.checkpoint import _RECORD
from imbik.models.hooks import evaluating
from imbik.models.inputs import input_names
from imbik.models.tables import positions_of, table_of

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

MAX_LENGTH = 256
"""Texts are cut to this many tokens unless the model's folder or the user says otherwise."""

_FILES = {"tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model", "spm.model", "tokenizer.model"}
_ODD_TEXTS = ("card", "𒀀 ꙮ ", "a" * 200)
"""A word, letters that no vocabulary has, and a word longer than tokenizers look at."""

_SIDE_TOLERANCE = 1e-2
"""Largest change of the outputs, relative to the largest, that is taken for rounding when the padding moves."""


def load_tokenizer(path: str | Path, config: PretrainedConfig | PreTrainedModel, role: str) -> PreTrainedTokenizerBase:
    """Load the fast tokenizer of a folder.

    Its ``model_max_length`` is bounded by the model's positions and :data:`MAX_LENGTH`.

    Args:
        path: folder or hub name.
        config: the model that it is for, or its config.
        role: what messages call it.

    Raises:
        UserError: no files of a tokenizer, or none that can be opened as a fast one.
    """
    tokenizer = open_tokenizer(path, role)
    positions = positions_of(config)
    ours = (Path(path) / _RECORD).is_file()  # a folder of ours carries the length that its user chose
    limit = MAX_LENGTH if tokenizer.model_max_length is None else int(tokenizer.model_max_length)
    tokenizer.model_max_length = min(limit, positions) if ours else min(limit, positions, MAX_LENGTH)
    return tokenizer


def open_tokenizer(path: str | Path, role: str) -> PreTrainedTokenizerBase:
    """Open the fast tokenizer of a folder or hub name with the settings that it states.

    Raises:
        UserError: no files of a tokenizer, or none that can be opened as a fast one.
    """
    try:
        with quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(path, use_fast=True, trust_remote_code=remote_code_trusted())
        tokenizer.backend_tokenizer  # noqa: B018  a slow tokenizer has none
    except Exception as error:
        check_remote_code(str(path), error, role)
        raise UserError(
            f"the {role} has no usable tokenizer",
            where=path,
            found=first_line(error),
            expected="tokenizer.json (or all files of its vocabulary) beside the model",
            fix="save the tokenizer there with tokenizer.save_pretrained(folder)",
        ) from None
    # Without a file transformers makes a tokenizer of the special tokens alone.
    names = _FILES | {str(name) for name in type(tokenizer).vocab_files_names.values()}
    if Path(path).is_dir() and not any((Path(path) / name).exists() for name in names):
        raise UserError(
            f"the {role} has no tokenizer",
            where=path,
            expected=f"{' or '.join(sorted(set(type(tokenizer).vocab_files_names.values()) | {'tokenizer.json'}))} beside config.json",
            fix="save the tokenizer there with tokenizer.save_pretrained(folder)",
        )
    return tokenizer


def check_tokenizer(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, where: str, role: str) -> None:
    """Check that the model's tables hold what the tokenizer gives, and set padding and types.

    Padding goes to the right, whatever the folder says: there it changes no answer, so that a text is answered alike alone and beside
    longer ones. Token types are given where the model tells them apart.

    Args:
        model: the model that reads the tokens; it is asked a few short rows.
        tokenizer: it is changed, in its settings alone.
        where: folder or hub name, for messages.
        role: what messages call the model.

    Raises:
        UserError: a text that the tokenizer stops at, a token or a token type beyond the model's table, a length that leaves no room for
            text, or a model whose answers are right only with padding on the left.
    """
    highest = _check_texts(tokenizer, where, role)
    check_ids(model, tokenizer, where, role)
    check_length(tokenizer, where, role)
    # Both: what a program reads, and what save_pretrained writes.
    if "token_type_ids" not in input_names(model, tokenizer):
        _set(tokenizer, "model_input_names", [name for name in tokenizer.model_input_names if name != "token_type_ids"])
    else:
        _check_types(model, highest, where, role)
    _check_padding(model, tokenizer, where, role)
    if tokenizer.padding_side != "right":
        _set(tokenizer, "padding_side", "right")


def _set(tokenizer: PreTrainedTokenizerBase, name: str, value: object) -> None:
    """Change a setting of a tokenizer, also in what ``save_pretrained`` writes."""
    setattr(tokenizer, name, value)
    tokenizer.init_kwargs[name] = value


def _check_texts(tokenizer: PreTrainedTokenizerBase, where: str, role: str) -> int:
    """Check that odd texts can be tokenized; returns the highest token type of single texts and of pairs."""
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.no_truncation()
    try:
        encodings = backend.encode_batch([*_ODD_TEXTS, (_ODD_TEXTS[0], _ODD_TEXTS[0])])
    except Exception as error:
        raise UserError(
            f"the tokenizer of the {role} stops at words that it does not know",
            where=where,
            found=first_line(error),
            expected="a vocabulary with the token for unknown words",
            fix="add that token to the vocabulary and to the model's table of word vectors, and train the model with it",
        ) from None
    return max((kind for encoding in encodings for kind in encoding.type_ids), default=0)


def check_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, where: str, role: str) -> None:
    """Refuse a token that the model has no vector for.

    Raises:
        UserError: naming the first of them.
    """
    table = table_of(model)
    rows = int(getattr(table, "num_embeddings", 0) or model.config.vocab_size)
    beyond = sorted((index, token) for token, index in tokenizer.get_vocab().items() if index >= rows)
    if beyond:
        shown = ", ".join(f"{token!r} ({index})" for index, token in beyond[:4]) + (", …" if len(beyond) > 4 else "")
        raise UserError(
            f"the tokenizer of the {role} gives tokens that the model has no vector for",
            where=where,
            found=f"{len(beyond)} tokens with ids from {beyond[0][0]} on: {shown}",
            expected=f"ids below {rows}, the rows of the model's table",
            fix="take the model's own tokenizer, or resize its table (resize_token_embeddings) and train it again",
        )


def check_length(tokenizer: PreTrainedTokenizerBase, where: object, role: str) -> None:
    """Refuse a length that special tokens use up: tokenizers then cut nothing.

    Raises:
        UserError: naming the shortest length.
    """
    least = tokenizer.backend_tokenizer.num_special_tokens_to_add(is_pair=False) + 1
    if tokenizer.model_max_length < least:
        raise UserError(
            f"the {role} reads too few tokens",
            where=where,
            found=f"texts are cut to {tokenizer.model_max_length} tokens (model_max_length of the tokenizer, or the model's positions)",
            expected=f"at least {least}: the special tokens and one of the text",
            fix="correct model_max_length in tokenizer_config.json",
        )


def _check_types(model: PreTrainedModel, highest: int, where: str, role: str) -> None:
    """Refuse token types that the model has no vector for."""
    rows = int(getattr(model.config, "type_vocab_size", 2))
    if highest >= rows:
        raise UserError(
            f"the tokenizer of the {role} gives token types that the model has no vector for",
            where=where,
            found=f"token type {highest}",
            expected=f"types below {rows} (type_vocab_size in config.json)",
            fix="take the model's own tokenizer",
        )


def _check_padding(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, where: str, role: str) -> None:
    """Refuse a model that answers rightly only where padding stands on the left, such as one that reads the last token."""
    padding = int(tokenizer.pad_token_id or 0)
    right = padding_gap(model, padding, "right")
    if right > _SIDE_TOLERANCE >= padding_gap(model, padding, "left"):
        raise UserError(
            f"the {role} needs padding on the left, which imbik does not do",
            where=where,
            found=f"padding on the right changes its outputs by {right:.0%} of the largest",
            expected="a model that reads its answer from the first token, or from all of them",
        )


@torch.no_grad()
def padding_gap(model: PreTrainedModel, padding: int, side: str) -> float:
    """Compute how much padding a short text changes its outputs, relative to the largest.

    Args:
        model: a transformers model; only what it gives for the whole text counts, one without such an output has a gap of 0.
        padding: id that fills up.
        side: where it stands, ``left`` or ``right``.
    """
    device = next(model.parameters()).device
    ids = torch.arange(5, 9, device=device).clamp(max=int(model.config.vocab_size) - 1)[None]  # (1, 4)
    filling = torch.full_like(ids, padding)
    parts = [(ids, torch.ones_like(ids)), (filling, torch.zeros_like(ids))][:: 1 if side == "right" else -1]
    padded, mask = (torch.cat(columns, dim=1) for columns in zip(*parts, strict=True))
    with evaluating(model):
        alone = model(input_ids=ids, attention_mask=torch.ones_like(ids))[0]
        beside = model(input_ids=padded, attention_mask=mask)[0]
    if alone.ndim != 2 or alone.shape != beside.shape:  # an output for each token: nothing is read from one place
        return 0.0
    return float((alone - beside).abs().max() / alone.abs().max().clamp(min=1e-6))


def check_remote_code(path: str, error: Exception, role: str) -> None:
    """Say what a model that needs code of its own is to be opened with.

    Raises:
        UserError: ``error`` is transformers' refusal to run the code.
    """
    if "trust_remote_code" in str(error) and not remote_code_trusted():
        raise UserError(
            f"the {role} brings code of its own, which is not run",
            where=path,
            expected="an architecture that transformers has",
            fix=f"read that code; if you trust it, run the command with --trust-remote-code (in a program: {TRUST}=1)",
        ) from None
