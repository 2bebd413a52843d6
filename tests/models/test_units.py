"""Regression in the user's units: standardized inside as scikit-learn would, and nobody outside sees it."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler
from transformers import AutoModelForSequenceClassification

from imbik.errors import UserError
from imbik.export.artefact import export
from imbik.finetune.classifier import finetune
from imbik.jobs.progress import Silent
from imbik.models.checkpoint import save_checkpoint
from imbik.models.pretrained import load_base, load_checkpoint
from imbik.models.units import Units, answer_in, units_of
from imbik.runtime.predictor import load_artefact
from imbik.testing.tiny import logits_of, tiny_bert, tiny_splits
from imbik.training.heads import head_of
from imbik.training.precision import full_precision
from imbik.training.settings import Training
from imbik.types import Checkpoint, Examples, Splits

SETTINGS = Training(epochs=10, learning_rate=4e-3, batch_tokens=128)


def in_units(splits: Splits, scale: float, shift: float) -> Splits:
    def part(examples: Examples) -> Examples:
        return replace(
            examples, targets=(examples.targets * scale + shift).astype(np.float32), fingerprint=f"{examples.fingerprint}{scale}{shift}"
        )

    return replace(
        splits, train=part(splits.train), dev=part(splits.dev), test=part(splits.test), fingerprint=f"{scale} {shift}", metric="rmse"
    )


def taught(tmp_path, splits: Splits, name: str) -> Checkpoint:
    if not (tmp_path / "base").is_dir():
        save_checkpoint(tiny_bert(("y",), "regression", layers=1), tmp_path / "base")
    said: list[str] = []
    # in bfloat16, roundings decide which of two epochs is better, and with them which one is kept
    with full_precision():
        return finetune(tmp_path / "base", splits, tmp_path / name, settings=SETTINGS, progress=Silent(), say=said.append).checkpoint


@pytest.fixture(scope="module")
def far(tmp_path_factory) -> tuple[Checkpoint, Splits]:
    """A teacher of values far from zero: 300,000 and more."""
    splits = in_units(tiny_splits("regression", rows=160), 40_000.0, 300_000.0)
    return taught(tmp_path_factory.mktemp("far"), splits, "teacher"), splits


def test_mean_and_scale_are_those_of_scikit_learn() -> None:
    targets = np.random.default_rng(0).normal(2005, 8, 500).astype(np.float32)
    scaler = StandardScaler().fit(targets.reshape(-1, 1).astype(np.float64))
    units = Units.of(targets)
    assert units.mean == pytest.approx(float(scaler.mean_[0]), rel=1e-12) and units.scale == pytest.approx(
        float(scaler.scale_[0]), rel=1e-9
    )
    assert units.far and not Units.of(np.array([0.0, 5.0])).far
    assert Units.of(np.full(5, 7.0)) == Units(7.0, 1.0)


def test_training_is_that_on_standardized_targets(tmp_path, far) -> None:
    """scikit-learn's way: fit on scaled targets, give predictions back in units."""
    teacher, splits = far
    units = Units.of(splits.train.targets)
    scaled = in_units(splits, 1 / units.scale, -units.mean / units.scale)
    predicted = logits_of(taught(tmp_path, scaled, "scaled"), splits.test)
    np.testing.assert_allclose((logits_of(teacher, splits.test) - units.mean) / units.scale, predicted, atol=0.02)


def test_ten_times_the_targets_give_ten_times_the_answers(tmp_path, far) -> None:
    teacher, splits = far
    tenfold = logits_of(taught(tmp_path, in_units(splits, 10.0, 0.0), "ten"), splits.test)
    np.testing.assert_allclose(tenfold, 10 * logits_of(teacher, splits.test), atol=0.02 * Units.of(splits.train.targets).scale * 10)


def test_a_teacher_of_far_values_is_better_than_their_mean(far) -> None:
    teacher, splits = far
    error = np.sqrt(np.mean((logits_of(teacher, splits.test)[:, 0] - splits.test.targets) ** 2))
    assert error < splits.test.targets.std()
    assert 250_000 < logits_of(teacher, splits.test).mean() < 600_000


def test_the_folder_answers_in_units_with_and_without_imbik(tmp_path, far) -> None:
    teacher, splits = far
    expected = logits_of(teacher, splits.test)
    save_checkpoint(teacher, tmp_path / "model")
    loaded = load_checkpoint(tmp_path / "model")
    for name, tensor in teacher.model.state_dict().items():
        assert torch.equal(tensor, loaded.model.state_dict()[name]), name
    np.testing.assert_allclose(logits_of(loaded, splits.test), expected, rtol=1e-6)
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model").eval()
    inputs = teacher.tokenizer(list(splits.test.texts), return_tensors="pt", padding=True, truncation=True)
    with torch.no_grad():
        np.testing.assert_allclose(plain(**inputs).logits.numpy(), teacher.model(**inputs).logits.numpy(), rtol=1e-5)


def test_a_folder_that_another_program_trained_further_keeps_its_answers(tmp_path, far) -> None:
    teacher, splits = far
    save_checkpoint(teacher, tmp_path / "model")
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model").eval()
    with torch.no_grad():
        plain.classifier.bias += 12_345.0
    plain.save_pretrained(tmp_path / "model")
    again = logits_of(load_checkpoint(tmp_path / "model"), splits.test)
    np.testing.assert_allclose(again, logits_of(teacher, splits.test) + 12_345.0, atol=0.02 * Units.of(splits.train.targets).scale)


def test_the_artefact_answers_in_units(tmp_path, far) -> None:
    teacher, splits = far
    texts = list(splits.test.texts)
    export(teacher, "onnx", tmp_path / "artefact", texts=texts)
    answers = load_artefact(tmp_path / "artefact", threads=1).predict(texts)
    # float32 on one side, perhaps bf16 inside the other
    np.testing.assert_allclose(answers, logits_of(teacher, splits.test), atol=0.03 * Units.of(splits.train.targets).scale)


def test_a_copy_has_units_of_its_own(far) -> None:
    model = copy.deepcopy(far[0].model)
    answer_in(model, Units(5.0, 2.0))
    assert units_of(model.config) == Units(5.0, 2.0) != units_of(far[0].model.config)
    assert len(model._forward_hooks) == len(far[0].model._forward_hooks) == 1


def test_a_loss_has_one_size_whatever_the_targets_are_counted_in(far) -> None:
    teacher, splits = far
    head, units = head_of("regression"), Units.of(splits.train.targets)
    given = torch.tensor([[units.mean + 3 * units.scale]])
    loss = head.loss(given, torch.tensor([units.mean])) / head.unit(teacher.model)
    assert float(loss) == pytest.approx(9.0, rel=1e-4)
    assert head.unit(tiny_bert(("y",), "regression").model) == 1.0


def test_a_model_without_units_is_as_it_was(tmp_path) -> None:
    """What older versions and other programs wrote."""
    old = tiny_bert(("y",), "regression", layers=1)
    save_checkpoint(old, tmp_path / "old")
    assert "imbik_units" not in json.loads((tmp_path / "old" / "config.json").read_text())
    loaded = load_checkpoint(tmp_path / "old")
    assert units_of(loaded.model.config) is None and not loaded.model._forward_hooks
    test = tiny_splits("regression").test
    # to float32 rounding: where a file is mapped its rows lie elsewhere in a vector register
    np.testing.assert_allclose(logits_of(loaded, test), logits_of(old, test), rtol=1e-6)


def test_units_near_those_of_the_base_keep_its_answers(tmp_path, far) -> None:
    teacher, splits = far
    save_checkpoint(teacher, tmp_path / "model")
    base = load_base(tmp_path / "model", "regression", ("score",))
    before, units = logits_of(base, splits.test), Units.of(splits.train.targets)
    answer_in(base.model, Units(units.mean + units.scale, 1.5 * units.scale))
    np.testing.assert_allclose(logits_of(base, splits.test), before, atol=0.05 * units.scale)
    answer_in(base.model, Units(0.0, 1.0))
    assert np.abs(logits_of(base, splits.test)).max() < 100, "units of another kind begin anew"
    other = load_base(tmp_path / "model", "classification", ("a", "b"))
    assert units_of(other.model.config) is None and not other.model._forward_hooks


@pytest.mark.parametrize(
    "units", [{"mean": 1.0}, {"mean": 0.0, "scale": 0.0}, {"mean": "x", "scale": 1}, [1, 2], {"mean": 1e400, "scale": 1}]
)
def test_broken_units_are_one_message(tmp_path, far, units) -> None:
    save_checkpoint(far[0], tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    (tmp_path / "model" / "config.json").write_text(json.dumps(config | {"imbik_units": units}))
    with pytest.raises(UserError, match="units"):
        load_checkpoint(tmp_path / "model")
