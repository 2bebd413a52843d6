"""Full-size students on a phone's engine: the labels that PyTorch gives, on 500 real texts."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from imbik.data.bundled import bundled_base
from imbik.export.artefact import export
from imbik.models.tokenizers import tokenizer_of
from imbik.runtime.engines.pytorch import TorchSession
from imbik.runtime.predictor import Predictor, load_artefact
from imbik.types import Checkpoint, Examples

pytestmark = [pytest.mark.slow, pytest.mark.data]

SHAPES = {
    "tinybert": {"model_type": "bert", "hidden_size": 312, "num_hidden_layers": 4, "num_attention_heads": 12, "intermediate_size": 1200},
    "mobilebert": {"model_type": "mobilebert"},
}


def _student(shape: str, texts: list[str]) -> Checkpoint:
    """Random weights; the head is centerd on some texts, so that the labels differ by text."""
    from transformers import AutoTokenizer

    torch.manual_seed(0)
    settings = dict(SHAPES[shape])
    config = AutoConfig.for_model(settings.pop("model_type"), num_labels=77, **settings)
    model = AutoModelForSequenceClassification.from_config(config, attn_implementation="eager", dtype=torch.float32).eval()
    torch.nn.init.normal_(model.classifier.weight, std=1.0)
    tokenizer = AutoTokenizer.from_pretrained(bundled_base())
    tokenizer.model_max_length = 128
    with torch.no_grad():
        inputs = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        model.classifier.bias -= model(**inputs).logits.mean(0)
    return Checkpoint(model, tokenizer, "classification")


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_executorch_labels_500_texts_as_pytorch_does(shape: str, tmp_path: Path, real_data: Path) -> None:
    pytest.importorskip("executorch")
    with (real_data / "banking77" / "test.csv").open(encoding="utf-8", newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)][::6][:500]
    checkpoint = _student(shape, texts[:50])
    artefact = export(checkpoint, "executorch", tmp_path / shape, texts=Examples(texts[:50], None, None, ""))
    predictor = load_artefact(artefact.path)
    reference = Predictor(predictor.manifest, tokenizer_of(checkpoint), TorchSession(checkpoint.model, predictor.manifest["inputs"]))
    expected, found = reference.scores(texts), predictor.scores(texts)
    assert len(texts) == 500 and len(set(expected.argmax(1).tolist())) > 5
    assert (expected.argmax(1) == found.argmax(1)).all(), abs(expected - found).max()
