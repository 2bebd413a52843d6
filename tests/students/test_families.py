"""Which method takes which teacher: every cell of the support matrix runs, or is refused with a message; students stand on their own."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from imbik.errors import UserError
from imbik.methods.registry import make_method
from imbik.models.checkpoint import save_checkpoint
from imbik.students.catalogue import make_student
from imbik.testing.contract import quick
from imbik.testing.tiny import logits_of, tiny_bert, tiny_context, tiny_splits
from imbik.types import Checkpoint

FAMILIES = ["bert", "roberta", "electra", "distilbert", "albert", "mpnet", "deberta-v2", "modernbert"]

# student, step
CELLS = {
    "layers-2": ("layers-2", {"distill": {}}),
    "narrow BERT": ({"layers": 2, "hidden": 16, "heads": 2}, {"distill": {}}),
    "minilm": ({"layers": 2, "hidden": 16, "heads": 2}, {"minilm": {}}),
    "tinybert": ({"layers": 2, "hidden": 16, "heads": 2}, {"tinybert": {}}),
    "distilbert losses": ({"layers": 2, "hidden": 16, "heads": 2}, {"distilbert": {}}),
    "distilbert": ("distilbert-2l", {"distilbert": {}}),
    "mobilebert": ("mobilebert", {"mobilebert": {"schedule": "joint"}}),
}
REFUSED = {
    ("albert", "distilbert"): "cannot start from this architecture",
    ("electra", "distilbert"): "embeddings narrower than its layers",  # as ELECTRA small; ELECTRA base fits
    ("mpnet", "distilbert"): "cannot start from this architecture",
    ("deberta-v2", "distilbert"): "cannot start from this architecture",
    ("modernbert", "distilbert"): "cannot start from this architecture",
}


@pytest.mark.parametrize("cell", sorted(CELLS))
@pytest.mark.parametrize("family", FAMILIES)
def test_the_matrix(family, cell, tmp_path):
    teacher, splits = tiny_bert(family=family), tiny_splits(rows=24)
    student, step = CELLS[cell]

    def run() -> Checkpoint:
        made = make_student(student, teacher, splits.train, 0)
        return make_method(quick(step), cell).apply(made, tiny_context(teacher, splits, tmp_path))

    if (family, cell) in REFUSED:
        with pytest.raises(UserError, match=REFUSED[family, cell]):
            run()
        return
    made = run()
    logits = logits_of(made, splits.test)
    assert logits.shape == (12, 3) and np.isfinite(logits).all() and logits.std(axis=0).max() > 0


def test_a_student_with_another_vocabulary_learns_from_logits_and_nothing_else(tmp_path):
    teacher, splits = tiny_bert(), tiny_splits(rows=24)
    other = tiny_bert(seed=3)
    known = other.tokenizer.get_vocab()
    fewer = [piece for piece in sorted(known, key=known.__getitem__) if len(piece) < 4 or piece.startswith("[")]
    model = other.tokenizer.backend_tokenizer.model
    other.tokenizer.backend_tokenizer.model = type(model)({piece: i for i, piece in enumerate(fewer)}, unk_token="[UNK]")
    save_checkpoint(other, tmp_path / "other")

    def apply(step):
        student = make_student({"from": str(tmp_path / "other")}, teacher, splits.train, 0)
        return make_method(quick(step), "test").apply(student, tiny_context(teacher, splits, tmp_path))

    for step in ({"distill": {}}, {"distilbert": {"cosine": 0}}):
        assert np.isfinite(logits_of(apply(step), splits.test)).all()
    for step in ({"distilbert": {}}, {"minilm": {}}, {"tinybert": {}}):
        with pytest.raises(UserError, match="cut texts into different tokens"):
            apply(step)


ALONE = """
import json, sys
sys.modules["imbik"] = None
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
out = {}
for folder in sys.argv[1:]:
    model = AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation="eager").eval()
    inputs = AutoTokenizer.from_pretrained(folder)(["pay now", "where is my lost card"], padding=True, return_tensors="pt")
    with torch.no_grad():
        out[folder] = [type(model).__name__, model(**inputs).logits.tolist()]
print(json.dumps(out))
"""


def test_every_student_stands_on_its_own(tmp_path):
    """Each folder opens in a process that has no imbik, and gives the same logits there."""
    teacher, splits = tiny_bert(), tiny_splits(rows=24)
    expected = {}
    for name, kind in (("layers-2", "Bert"), ("mini-2x128", "Bert"), ("distilbert", "DistilBert"), ("mobilebert", "MobileBert")):
        shape = {"layers": 2, "hidden": 16, "heads": 2} if name.startswith("mini") else name
        student = make_student(shape, teacher, splits.train, 0)
        save_checkpoint(student, tmp_path / name)
        inputs = student.tokenizer(["pay now", "where is my lost card"], padding=True, return_tensors="pt")
        with torch.no_grad():
            expected[str(tmp_path / name)] = f"{kind}ForSequenceClassification", student.model(**inputs).logits
    done = subprocess.run([sys.executable, "-c", ALONE, *expected], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for folder, (kind, logits) in json.loads(done.stdout.splitlines()[-1]).items():
        assert kind == expected[folder][0]
        torch.testing.assert_close(torch.tensor(logits), expected[folder][1], atol=1e-5, rtol=1e-5)
