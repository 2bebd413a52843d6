"""Checkpoints: what is loaded is what was saved; the layer stack; fingerprints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tokenizers import AddedToken, normalizers, pre_tokenizers, processors

from imbik.errors import UserError
from imbik.models.blocks import layer_stack
from imbik.models.checkpoint import fingerprint, labels_of, save_checkpoint
from imbik.models.pretrained import load_base, load_checkpoint
from imbik.testing.contract import check_reload
from imbik.testing.tiny import tiny_bert, tiny_splits
from imbik.types import Checkpoint


def test_saved_and_loaded_is_the_same(tmp_path):
    made = tiny_bert()
    check_reload(Checkpoint(made.model, made.tokenizer, made.task, ({"distill": {"epochs": 1}},)), tmp_path, tiny_splits().test)
    loaded = load_checkpoint(tmp_path)
    assert loaded.steps == ({"distill": {"epochs": 1}},) and labels_of(loaded) == ("bad", "good", "other")
    assert loaded.tokenizer.model_max_length == made.tokenizer.model_max_length
    assert fingerprint(loaded) == fingerprint(made)


def test_the_fingerprint_sees_weights_labels_tokenizer_and_length(tmp_path):
    made = tiny_bert()
    base = fingerprint(made)
    assert base == fingerprint(tiny_bert())
    save_checkpoint(made, tmp_path / "saved")
    assert base == fingerprint(made), "it is the same model after it was saved"
    assert base != fingerprint(tiny_bert(seed=1)) and base != fingerprint(tiny_bert(labels=("good", "bad", "other")))
    longer = tiny_bert()
    longer.tokenizer.model_max_length = 16
    assert base != fingerprint(longer)
    left = tiny_bert()
    left.tokenizer.truncation_side = "left"
    assert base != fingerprint(left), "other tokens are kept of long texts"


@pytest.mark.parametrize(
    "part",
    [
        {"normalizer": normalizers.BertNormalizer(lowercase=False)},
        {"normalizer": normalizers.BertNormalizer(strip_accents=False)},
        {"normalizer": normalizers.Sequence([normalizers.NFC(), normalizers.BertNormalizer()])},
        {"pre_tokenizer": pre_tokenizers.Whitespace()},
        {"post_processor": processors.TemplateProcessing("[CLS] $A", "[CLS] $A [SEP] $B", [("[CLS]", 2), ("[SEP]", 3)])},
    ],
    ids=lambda part: str(next(iter(part))),
)
def test_the_fingerprint_sees_what_a_tokenizer_does_around_its_table(part):
    other = tiny_bert()
    for name, value in part.items():
        setattr(other.tokenizer.backend_tokenizer, name, value)
    assert fingerprint(other) != fingerprint(tiny_bert())


def test_the_fingerprint_sees_a_token_that_was_added_as_text():
    other = tiny_bert()
    other.tokenizer.add_tokens([AddedToken("card", normalized=True)])
    assert fingerprint(other) != fingerprint(tiny_bert())


def test_two_writings_of_bert_s_frame_have_one_key():
    """A folder that was saved with another version of tokenizers keeps its caches."""
    other = tiny_bert()
    frame = "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1"
    other.tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(*frame, [("[CLS]", 2), ("[SEP]", 3)])
    assert fingerprint(other) == fingerprint(tiny_bert())


def test_tasks_travel(tmp_path):
    for task, labels in (("multi-label", ("a", "b")), ("regression", ("score",))):
        save_checkpoint(tiny_bert(labels, task), tmp_path / task)
        assert load_checkpoint(tmp_path / task).task == task


def test_a_base_gets_a_new_head(tmp_path):
    save_checkpoint(tiny_bert(), tmp_path)
    torch.manual_seed(0)
    base = load_base(tmp_path, "classification", ("a", "b", "c", "d"))
    assert base.model.config.num_labels == 4 and labels_of(base) == ("a", "b", "c", "d")
    assert torch.equal(base.model.get_input_embeddings().weight, tiny_bert().model.get_input_embeddings().weight)


def test_the_layer_stack_is_found_in_every_family():
    for family in ("bert", "roberta", "electra", "mpnet"):
        name, stack = layer_stack(tiny_bert(family=family).model)
        assert len(stack) == 4 and name.endswith("layer")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({"1": "bad", "2": "good", "3": "other"}, "not counted from 0.*Found: 1, 2, 3"),
        ({"0": "bad", "2": "good", "5": "other"}, "not counted from 0.*Found: 0, 2, 5"),
        ({"0": "bad", "1": "good", "2": "bad"}, "several classes have one name.*'bad'"),
        ({"0": "e\u0301t\u00e9", "1": "\u00e9te\u0301 ", "2": "other"}, "several classes have one name"),
        ({"0": "bad", "1": None, "2": "other"}, "is no text.*null"),
        ({"0": "bad", "1": ["good"], "2": "other"}, "is no text"),
    ],
)
def test_label_names_that_fit_no_output_are_refused(names: dict[str, object], said: str, tmp_path: Path) -> None:
    save_checkpoint(tiny_bert(), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"id2label": names}))
    with pytest.raises(UserError, match=said):
        load_checkpoint(tmp_path)


def test_label_names_that_are_numbers_are_texts(tmp_path: Path) -> None:
    save_checkpoint(tiny_bert(), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"id2label": {"0": -1, "1": 0, "2": 7}}))
    loaded = load_checkpoint(tmp_path)
    assert labels_of(loaded) == ("-1", "0", "7") and loaded.model.config.label2id == {"-1": 0, "0": 1, "7": 2}
