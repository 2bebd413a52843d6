"""Weights that did not all load: what is missing is named and refused, what is unused is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from imbik.errors import UserError
from imbik.models.checkpoint import save_checkpoint
from imbik.models.pretrained import load_base, load_checkpoint, load_masked_lm
from imbik.testing.tiny import tiny_bert

Weights = dict[str, Tensor]


def folder(directory: Path, change: Callable[[Weights], Weights], family: str = "bert", **config: object) -> Path:
    """A teacher of four layers whose stored tensors and config are changed behind its back."""
    save_checkpoint(tiny_bert(family=family), directory)
    file = directory / "model.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in change(load_file(file)).items()}, file, metadata={"format": "pt"})
    stored = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(stored | config))
    return directory


def without(part: str) -> Callable[[Weights], Weights]:
    return lambda weights: {name: tensor for name, tensor in weights.items() if part not in name}


def prefixed(prefix: str) -> Callable[[Weights], Weights]:
    return lambda weights: {prefix + name: tensor for name, tensor in weights.items()}


def same(weights: Weights) -> Weights:
    return weights


REFUSED = {
    "no head": (lambda w: without("classifier")(w), {}, ("missing: classifier.bias, classifier.weight", "imbik finetune")),
    "one bias": (lambda w: without("classifier.bias")(w), {}, ("missing: classifier.bias.",)),
    "head of another name": (
        lambda w: {name.replace("classifier.", "head.out."): tensor for name, tensor in w.items()},
        {},
        ("missing: classifier.bias", "not used: head.out.bias"),
    ),
    "no pooler": (without("pooler"), {}, ("bert.pooler.dense.weight",)),
    "a layer missing": (without("layer.2.attention.self.query"), {}, ("bert.encoder.layer.2.attention.self.query.weight",)),
    "module.": (prefixed("module."), {}, ("'module.' (DataParallel)", "in all")),
    "torch.compile": (prefixed("_orig_mod."), {}, ("'_orig_mod.' (torch.compile)",)),
    "an adapter": (
        lambda w: {
            name.replace("self.query", "self.query.base_layer").replace("base_layer.weight", "lora_A.weight"): t for name, t in w.items()
        },
        {},
        ("merge_and_unload",),
    ),
    "fewer layers than config.json": (same, {"num_hidden_layers": 6}, ("bert.encoder.layer.4",)),
    "more layers than config.json": (same, {"num_hidden_layers": 2}, ("layers that its config.json does not have", "bert.encoder.layer.2")),
    "another architecture": (
        same,
        {"model_type": "roberta", "architectures": ["RobertaForSequenceClassification"]},
        ("missing: classifier.dense.bias", "not used: bert."),
    ),
    "another vocabulary": (same, {"vocab_size": 200}, ("(118, 32) instead of (200, 32)",)),
    "two names for three outputs": (
        same,
        {"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 0, "b": 1}},
        ("classifier.weight (3, 32) instead of (2, 32)",),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_teacher_with_random_parts_is_refused(case: str, tmp_path: Path) -> None:
    change, config, said = REFUSED[case]
    with pytest.raises(UserError) as refused:
        load_checkpoint(folder(tmp_path / "t", change, **config))
    assert all(part in str(refused.value) for part in ("weights", *said)), str(refused.value)


@pytest.mark.parametrize("family", ["roberta", "electra", "distilbert", "albert", "mpnet", "mobilebert"])
def test_a_whole_model_of_every_family_loads_without_a_word(family: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    loaded = load_checkpoint(folder(tmp_path / "t", same, family=family))
    assert loaded.notes == () and not caplog.records
    stored = tiny_bert(family=family).model.state_dict()
    assert all(torch.equal(tensor, stored[name]) for name, tensor in loaded.model.state_dict().items())


def test_unused_tensors_are_said_and_noted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = folder(tmp_path / "t", lambda w: {**w, "cls.seq_relationship.weight": torch.ones(2, 32)})
    with caplog.at_level("INFO", logger="imbik"):  # whatever another test's library has done to the root's level
        notes = load_checkpoint(path).notes
    assert [(note.kind, dict(note.values)) for note in notes] == [
        ("unused_weights", {"count": 1, "names": ("cls.seq_relationship.weight",)})
    ]
    assert "cls.seq_relationship.weight" in caplog.text


def test_a_base_may_lack_head_and_pooler_but_nothing_of_its_encoder(tmp_path: Path) -> None:
    bare = folder(tmp_path / "bare", lambda w: without("pooler")(without("classifier")(w)))
    base = load_base(bare, "classification", ("a", "b"))
    assert torch.equal(base.model.get_input_embeddings().weight, tiny_bert().model.get_input_embeddings().weight)
    assert load_masked_lm(bare)[2] is True, "its head is new"
    for name, change in {
        "layer": without("layer.1.output.dense"),
        "table": without("word_embeddings"),
        "wrapped": prefixed("module."),
    }.items():
        broken = folder(tmp_path / name, change)
        with pytest.raises(UserError, match="weights of the base model are not complete"):
            load_base(broken, "classification", ("a", "b"))
        with pytest.raises(UserError, match="not complete"):
            load_masked_lm(broken)
    with pytest.raises(UserError, match=r"word_embeddings.weight \(118, 32\) instead of \(200, 32\)"):
        load_base(folder(tmp_path / "other", same, vocab_size=200), "classification", ("a", "b"))


def test_an_adapter_without_its_model_is_told_how_to_be_merged(tmp_path):
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "bert-base-uncased"}')
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match=r"no config.json.*merge_and_unload.*save_pretrained") as caught:
        load_checkpoint(tmp_path)
    assert str(tmp_path) in str(caught.value)
