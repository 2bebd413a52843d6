"""Raw text: documents of every form, packed blocks that survive a kill, masks, and the head that is fitted on them."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from imbik.data.documents import open_documents
from imbik.errors import UserError
from imbik.finetune.mlm import finetune_mlm
from imbik.jobs.progress import Silent
from imbik.models.checkpoint import save_checkpoint
from imbik.models.pretrained import load_masked_lm
from imbik.pretraining import corpus as room
from imbik.pretraining.corpus import Blocks, build_blocks
from imbik.pretraining.masking import IGNORED, Masker, masked_output
from imbik.testing.tiny import WORDS, tiny_bert, tiny_tokenizer
from imbik.training.settings import RunSettings, Training


def sentences(count: int, seed: int = 0) -> list[str]:
    generator = random.Random(seed)
    return [" ".join(generator.choices(WORDS, k=generator.randint(3, 12))) for _ in range(count)]


def test_every_form_gives_the_same_documents(tmp_path):
    pq, pa = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
    texts = sentences(30)
    forms = tmp_path / "lines.txt", tmp_path / "parts.txt", tmp_path / "rows.csv", tmp_path / "rows.jsonl", tmp_path / "rows.parquet"
    forms[0].write_text("\n".join(texts))
    forms[1].write_text("\n\n".join(text.replace(" ", "\n", 1) for text in texts))
    forms[2].write_text("text\n" + "\n".join(texts))
    forms[3].write_text("\n".join(json.dumps({"text": text}) for text in texts))
    pq.write_table(pa.table({"text": texts}), forms[4])
    for form in forms:
        assert list(open_documents(form).stream()) == texts, form.name
    whole = open_documents(tmp_path)
    assert sorted(whole.stream()) == sorted(texts * 5) and whole.bytes == sum(form.stat().st_size for form in forms)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p / "nothing.txt", "no such file"),
        (lambda p: _written(p / "empty.txt", ""), "empty"),
        (lambda p: _written(p / "pictures" / "a.png", "x").parent, "no text in the folder"),
        (lambda p: _written(p / "two.csv", "left,right\na,b\n"), "which column is the text"),
        (lambda p: _written(p / "zip.txt", "PK\x03\x04rest"), "not a text file"),
    ],
)
def test_what_is_no_text_is_refused(make, message, tmp_path):
    with pytest.raises(UserError, match=message):
        list(open_documents(make(tmp_path)).stream())


def _written(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_blocks_hold_the_documents_one_after_the_other(tmp_path):
    tokenizer, texts = tiny_tokenizer(), sentences(200)
    (tmp_path / "c.txt").write_text("\n".join(texts))
    blocks = build_blocks(open_documents(tmp_path / "c.txt"), tokenizer, tmp_path / "out", length=16)
    assert (blocks.ids[:, 0] == 2).all() and (blocks.ids[:, -1] == 3).all() and blocks.ids.dtype == np.uint16
    stream = [i for text in texts for i in [*tokenizer.encode(text, add_special_tokens=False), 3]]
    assert blocks.ids[:, 1:-1].ravel().tolist() == stream[: len(blocks) * 14]
    batch = blocks.batch(np.array([3, 1]))
    assert batch["input_ids"].tolist() == blocks.ids[[3, 1]].tolist() and batch["attention_mask"].min() == 1
    train, held = blocks.held_out(0.1)
    together = np.concatenate([train.index, held.index])
    assert len(held) == round(0.1 * len(blocks)) and sorted(together.tolist()) == list(range(len(blocks)))


def test_too_little_text_is_refused(tmp_path):
    (tmp_path / "c.txt").write_text("one card\n")
    with pytest.raises(UserError, match="too little text"):
        build_blocks(open_documents(tmp_path / "c.txt"), tiny_tokenizer(), tmp_path / "out", length=16)


def test_tokenizing_goes_on_where_it_stopped(tmp_path, monkeypatch):
    (tmp_path / "c.txt").write_text("\n".join(sentences(3000)))
    documents, tokenizer = open_documents(tmp_path / "c.txt"), tiny_tokenizer()
    straight = build_blocks(documents, tokenizer, tmp_path / "straight", length=16)
    monkeypatch.setattr(room, "_CHUNK", 5000)
    monkeypatch.setattr(room, "_SAVE", 0.0)
    add, calls = room._Packer.add, []

    def torn(self, *arguments):
        calls.append(self.documents)
        if len(calls) == 7:
            self.file.write(b"half a block")
            self.file.flush()
            raise KeyboardInterrupt
        add(self, *arguments)

    monkeypatch.setattr(room._Packer, "add", torn)
    with pytest.raises(KeyboardInterrupt):
        build_blocks(documents, tokenizer, tmp_path / "broken", length=16)
    monkeypatch.setattr(room._Packer, "add", add)
    resumed = build_blocks(documents, tokenizer, tmp_path / "broken", length=16)
    assert calls[-1] > 0 and np.array_equal(resumed.ids, straight.ids)


@pytest.mark.parametrize("whole_words", [False, True])
def test_masks_keep_berts_shares(whole_words):
    tokenizer = tiny_tokenizer()
    masker = Masker.of(tokenizer, 0.15, whole_words)
    torch.manual_seed(0)
    ids = torch.randint(5, len(tokenizer), (200, 64))
    ids[:, 0], ids[:, -1] = 2, 3
    hidden, labels = masker(ids)
    chosen = labels != IGNORED
    assert 0.13 < chosen.float().mean() < 0.17 and torch.equal(labels[chosen], ids[chosen])
    assert torch.equal(hidden[~chosen], ids[~chosen]) and not chosen[:, [0, -1]].any()
    fates = [(hidden[chosen] == 4).float().mean(), (hidden[chosen] == ids[chosen]).float().mean()]
    assert 0.77 < fates[0] < 0.83 and 0.08 < fates[1] < 0.13
    assert hidden[chosen].min() >= 4, "no other special token is drawn"
    if whole_words:
        inside = masker.inside[ids]
        assert torch.equal(chosen[:, 2:-1][inside[:, 2:-1]], chosen[:, 1:-2][inside[:, 2:-1]]), "a piece goes with its word"
    torch.manual_seed(0)
    torch.randint(5, len(tokenizer), (200, 64))
    assert torch.equal(masker(ids)[0], hidden), "the masks follow from the seed"


def test_a_batch_always_has_something_to_predict():
    masker = Masker.of(tiny_tokenizer(), 1e-9)
    for seed in range(20):
        torch.manual_seed(seed)
        assert (masker(torch.tensor([[2, 7, 8, 3], [2, 9, 10, 3]]))[1] != IGNORED).sum() == 1


@pytest.mark.parametrize("family", ["bert", "roberta", "electra", "distilbert", "albert", "mpnet"])
def test_the_head_at_some_tokens_is_the_head_at_all_of_them(family, tmp_path):
    save_checkpoint(tiny_bert(family=family), tmp_path)
    model, tokenizer, fresh = load_masked_lm(tmp_path)
    assert fresh
    model.eval()
    ids = torch.randint(5, len(tokenizer), (3, 12))
    where = torch.rand(3, 12) < 0.3
    with torch.no_grad():
        some = masked_output(model, {"input_ids": ids}, where, output_hidden_states=True)
        every = model(input_ids=ids, output_hidden_states=True)
    torch.testing.assert_close(some.logits, every.logits[where])
    assert some.hidden_states[-1].shape == every.hidden_states[-1].shape
    model.save_pretrained(tmp_path / "lm")
    tokenizer.save_pretrained(tmp_path / "lm")
    assert not load_masked_lm(tmp_path / "lm")[2], "a saved head is found again"


def _corpus(tmp_path: Path, count: int = 600) -> Path:
    # every sentence repeats its first word, so that there is something to predict from
    (tmp_path / "corpus.txt").write_text("\n".join(f"{text.split()[0]} {text}" for text in sentences(count)))
    return tmp_path / "corpus.txt"


@pytest.mark.parametrize("encoder", [False, True])
def test_a_head_is_fitted(encoder, tmp_path):
    save_checkpoint(tiny_bert(hidden=64, heads=4), tmp_path / "base")
    said: list[str] = []
    settings = Training(epochs=6, learning_rate=3e-3, batch_tokens=512)
    result = finetune_mlm(
        tmp_path / "base",
        open_documents(_corpus(tmp_path)),
        tmp_path / "out",
        settings=settings,
        encoder=encoder,
        length=32,
        progress=Silent(),
        say=said.append,
    )
    assert result.after.loss < result.before.loss - 0.3 and 0 < result.after.accuracy <= 1
    assert any("held out" in line for line in said) and [path.name for path in (tmp_path / "out" / ".imbik").iterdir()] == ["lock"]
    from transformers import AutoModelForMaskedLM

    loaded = AutoModelForMaskedLM.from_pretrained(tmp_path / "out").eval()
    table = load_masked_lm(tmp_path / "base")[0].get_input_embeddings().weight
    assert torch.equal(loaded.get_input_embeddings().weight, table) is not encoder
    assert loaded.get_output_embeddings().weight is loaded.get_input_embeddings().weight, "the head is tied"
    ids = torch.randint(5, 100, (2, 9))
    with torch.no_grad():
        torch.testing.assert_close(loaded(input_ids=ids).logits, result.model.eval()(input_ids=ids).logits)


def test_a_length_that_the_model_cannot_read_is_refused(tmp_path):
    save_checkpoint(tiny_bert(), tmp_path / "base")
    with pytest.raises(UserError, match="cannot be read"):
        finetune_mlm(
            tmp_path / "base", open_documents(_corpus(tmp_path)), tmp_path / "out", length=500, progress=Silent(), say=lambda _: None
        )


def test_accumulated_batches_are_one_large_batch(tmp_path):
    from imbik.training.loop import fit

    blocks = Blocks(np.random.default_rng(0).integers(5, 100, (8, 12)).astype(np.uint16))
    weights = []
    for tokens, accumulate in ((96, 1), (24, 4)):
        model = tiny_bert().model
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        settings = Training(epochs=1, batch_tokens=tokens, accumulate=accumulate, warmup=0.0)
        state = fit(model, _Square(), blocks, settings, RunSettings(0, tmp_path / str(tokens), Silent()), what="x")
        assert state.steps_done == 1
        weights.append(model.classifier.weight.detach().clone())
    torch.testing.assert_close(*weights, atol=2e-5, rtol=0)


class _Square(torch.nn.Module):
    def forward(self, model, batch):
        return model(input_ids=batch["input_ids"]).logits.float().square().mean()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_a_killed_run_ends_like_one_that_was_not(tmp_path):
    save_checkpoint(tiny_bert(hidden=64, heads=4), tmp_path / "base")
    _corpus(tmp_path, 6000)
    digests = []
    for out, kill in (("straight", False), ("broken", True)):
        command = [sys.executable, "-m", "imbik", "finetune", "--task", "mlm", "--base", "base", "--data", "corpus.txt", "--out", out]
        command += ["--max-length", "32", "--epochs", "12"]
        for _ in range(4 if kill else 0):
            process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(9)
            process.send_signal(signal.SIGKILL)
            process.wait()
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        digests.append((tmp_path / out / "model.safetensors").read_bytes())
    assert digests[0] == digests[1]
