"""Turkish letters survive the whole path: own cased vocabulary, checkpoint, artefact."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from imbik.data.bundled import bundled_data
from imbik.export.artefact import export
from imbik.models.checkpoint import set_labels
from imbik.runtime.predictor import load_artefact
from imbik.testing.tiny import logits_of
from imbik.types import Checkpoint, Examples

ROOT = Path(__file__).parents[2]


def example():
    spec = importlib.util.spec_from_file_location("turkish_encoder", ROOT / "examples" / "turkish_encoder.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def turkish_texts() -> list[str]:
    from imbik.data.load import load_data

    return list(load_data(bundled_data(), text="text_tr", label="intent").train.texts)


def test_no_letter_is_lower_cased_or_stripped():
    tokenizer = example().train_tokenizer([*turkish_texts(), *["İstanbul ISPARTA ılık iyi şifre çağrı öğün üzüm"] * 3], 3000)
    for text in ("İstanbul", "ISPARTA", "ılık", "iyi", "şifre", "çağrı", "öğün", "üzüm"):
        assert tokenizer.decode(tokenizer.encode(text), skip_special_tokens=True).replace(" ", "") == text
    ids = [tuple(tokenizer.encode(text)) for text in ("ı", "i", "I", "İ")]
    assert len(set(ids)) == 4, "the four i's of Turkish are four letters"
    decomposed = "I\u0307stanbul"  # İ as two code points
    assert tokenizer.encode(decomposed) == tokenizer.encode("İstanbul")


def test_suffixes_become_pieces():
    tokenizer = example().train_tokenizer(turkish_texts(), 3000)
    pieces = set(tokenizer.get_vocab())
    assert len({"##lar", "##ler", "##ın", "##da", "##de", "##ım", "##dan"} & pieces) >= 4


def test_the_artefact_reads_turkish_as_the_checkpoint_does(tmp_path):
    texts = turkish_texts()
    tokenizer = example().train_tokenizer(texts, 2000)
    torch.manual_seed(0)
    config = AutoConfig.for_model("bert", vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2)
    set_labels(config, "classification", ("İyi", "kötü"))
    model = AutoModelForSequenceClassification.from_config(config, attn_implementation="eager")
    checkpoint = Checkpoint(model.eval(), tokenizer, "classification")
    some = [*texts[:20], "IĞDIR'da ışık yok, İZMİR'de var", "ŞİFREMİ UNUTTUM"]
    export(checkpoint, "onnx", tmp_path / "artefact", texts=some)
    predictor = load_artefact(tmp_path / "artefact")
    assert predictor.labels == ("İyi", "kötü")
    np.testing.assert_allclose(predictor.scores(some), logits_of(checkpoint, Examples(some, None, None, "")), atol=0.05)
