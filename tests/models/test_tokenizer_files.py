"""A tokenizer's folder: which files make one, what the model's tables cannot hold, and which side is padded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerFast

from imbik.errors import UserError
from imbik.models.checkpoint import save_checkpoint
from imbik.models.pretrained import load_base, load_checkpoint
from imbik.models.tokenizer_files import padding_gap
from imbik.testing.tiny import tiny_bert, tiny_tokenizer


def folder(directory: Path, **settings: object) -> Path:
    """A teacher whose tokenizer_config.json has other settings."""
    save_checkpoint(tiny_bert(), directory)
    file = directory / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    return directory


def with_tokenizer(directory: Path, tokenizer: Tokenizer) -> Path:
    """A teacher with another tokenizer beside it."""
    save_checkpoint(tiny_bert(), directory)
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(directory)
    return directory


def test_padding_goes_to_the_right_whatever_the_folder_says(tmp_path: Path) -> None:
    loaded = load_checkpoint(folder(tmp_path / "t", padding_side="left"))
    assert loaded.tokenizer.padding_side == "right"
    loaded.tokenizer.save_pretrained(tmp_path / "again")
    assert AutoTokenizer.from_pretrained(tmp_path / "again").padding_side == "right", "who uses the student elsewhere pads as we do"


def test_a_model_that_reads_the_last_token_is_refused(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = AutoConfig.for_model("xlnet", vocab_size=118, d_model=32, n_layer=2, n_head=2, d_inner=64, pad_token_id=0, num_labels=3)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.15)
    assert padding_gap(model, 0, "left") < 1e-5 < 1e-2 < padding_gap(model, 0, "right")
    model.save_pretrained(tmp_path)
    tokenizer = tiny_tokenizer()
    tokenizer.padding_side = "left"
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="padding on the left"):
        load_checkpoint(tmp_path)


def test_the_padding_gap_of_bert_is_on_the_left() -> None:
    model = tiny_bert().model
    assert padding_gap(model, 0, "right") < 1e-5 < 1e-2 < padding_gap(model, 0, "left")


UNKNOWN = {
    "WordPiece": lambda: models.WordPiece({"[PAD]": 0, "card": 1}, unk_token="[UNK]"),
    "WordLevel": lambda: models.WordLevel({"[PAD]": 0, "card": 1}, unk_token="[UNK]"),
    "BPE": lambda: models.BPE({"c": 0, "d": 1}, [], unk_token="[UNK]"),
    "Unigram": lambda: models.Unigram([("card", -1.0), ("s", -2.0)], None, False),
}


@pytest.mark.parametrize("kind", UNKNOWN)
def test_a_vocabulary_without_the_unknown_token_is_refused(kind: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="stops at words that it does not know"):
        load_checkpoint(with_tokenizer(tmp_path, Tokenizer(UNKNOWN[kind]())))


def test_ids_beyond_the_table_are_refused_with_their_tokens(tmp_path: Path) -> None:
    checkpoint = tiny_bert()
    checkpoint.tokenizer.add_tokens(["<name>", "<iban>"])
    save_checkpoint(checkpoint, tmp_path)
    with pytest.raises(UserError, match=r"'<name>' \(118\), '<iban>' \(119\)\. Expected: ids below 118"):
        load_checkpoint(tmp_path)
    with pytest.raises(UserError, match="no vector for"):
        load_base(tmp_path, "classification", ("a", "b"))


def test_token_types_beyond_the_table_are_refused(tmp_path: Path) -> None:
    path = folder(tmp_path)
    tokenizer = json.loads((path / "tokenizer.json").read_text())
    special = {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]}, "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]}}
    single = [{"SpecialToken": {"id": "[CLS]", "type_id": 2}}, {"Sequence": {"id": "A", "type_id": 0}}]
    pair = [*single, {"Sequence": {"id": "B", "type_id": 1}}]
    tokenizer["post_processor"] = {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special}
    (path / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(UserError, match=r"token type 2\. Expected: types below 2"):
        load_checkpoint(path)


@pytest.mark.parametrize("length", [-1, 0, 2])
def test_a_length_without_room_for_text_is_refused(length: int, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"too few tokens.*at least 3"):
        load_checkpoint(folder(tmp_path, model_max_length=length))


def test_a_model_without_token_types_is_given_none(tmp_path: Path) -> None:
    save_checkpoint(tiny_bert(family="distilbert"), tmp_path)
    assert "token_type_ids" in tiny_bert(family="distilbert").tokenizer.model_input_names
    assert "token_type_ids" not in load_checkpoint(tmp_path).tokenizer.model_input_names


def test_every_file_that_transformers_reads_makes_a_tokenizer(tmp_path: Path) -> None:
    sentencepiece = pytest.importorskip("sentencepiece")
    words = ["card", "money", "bank", "pay", "lost", "found", "late", "early"]
    (tmp_path / "corpus").write_text("\n".join(" ".join(words[i:] + words[:i]) for i in range(8)))
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "corpus"), model_prefix=str(tmp_path / "spm"), vocab_size=60, hard_vocab_limit=False, minloglevel=2,
        pad_id=0, unk_id=1, bos_id=2, eos_id=3, pad_piece="[PAD]", unk_piece="[UNK]", bos_piece="[CLS]", eos_piece="[SEP]",
    )  # fmt: skip
    config = AutoConfig.for_model(
        "deberta-v2", vocab_size=100, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64
    )
    AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "DebertaV2Tokenizer"}')
    with pytest.raises(UserError, match=r"has no (usable )?tokenizer"):
        (tmp_path / "spm.model").rename(tmp_path / "kept")
        load_checkpoint(tmp_path)
    (tmp_path / "kept").rename(tmp_path / "spm.model")
    assert load_checkpoint(tmp_path).tokenizer("card").tokens()[1] == "▁card"
