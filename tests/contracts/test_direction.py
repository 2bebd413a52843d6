"""Every decision that is made on a metric, made on an error: less is better there, in training, choice, limits and reports."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import plausible
import pytest
import torch

from imbik.advise.advice import advise
from imbik.advise.choice import choose, pareto
from imbik.advise.scenario import load_scenario
from imbik.compress.measuring import BASELINE, _easy_dev
from imbik.data.load import load_data
from imbik.export.accuracy import AccuracyFloor, Trial, restore_accuracy
from imbik.finetune.classifier import LabelLoss, finetune
from imbik.jobs.progress import Silent
from imbik.locale.notes import sentence
from imbik.locale.phrases import Phrases
from imbik.measure.measurement import Measurement, Quality
from imbik.measure.quantities import dev_retention
from imbik.measure.run import Measured
from imbik.measure.values import Limits
from imbik.methods.registry import make_method
from imbik.models.checkpoint import save_checkpoint
from imbik.report.plot import Point, plot
from imbik.report.render import write_report
from imbik.report.terminal import results_table
from imbik.students.catalogue import make_student
from imbik.tasks.registry import task_of
from imbik.testing.tiny import logits_of, tiny_bert, tiny_context, tiny_splits
from imbik.training.encoding import encode
from imbik.training.loop import fit
from imbik.training.prediction import RowTargets, dev_quality, dev_score, quality_of
from imbik.training.settings import RunSettings, Training
from imbik.types import Examples

SPLITS = replace(tiny_splits("regression"), metric="rmse")


def rmse(checkpoint: Any, examples: Examples) -> float:
    """By the formula, without the product's metrics."""
    return float(np.sqrt(np.mean((logits_of(checkpoint, examples)[:, 0].astype(float) - examples.targets) ** 2)))


# --- training


def trained(tmp_path, dev_errors: list[float], **settings: Any) -> Any:
    """A training whose epochs have these errors on dev (the first of all before it starts, with ``keep_start``)."""
    checkpoint = tiny_bert(("score",), "regression", layers=1)
    data = encode(SPLITS.train, checkpoint.tokenizer)
    metric = task_of("regression").metric("rmse")
    errors = iter(dev_errors)
    keep_start = bool(settings.pop("keep_start", False))
    state = fit(
        checkpoint.model,
        LabelLoss("regression", RowTargets(np.asarray(SPLITS.train.targets))),
        data,
        Training(learning_rate=1e-3, batch_tokens=256, **settings),
        RunSettings(0, tmp_path, Silent()),
        what="test",
        evaluate=lambda _model: metric.merit(next(errors)),
        keep_start=keep_start,
    )
    return state


def test_the_epoch_with_the_smallest_error_is_kept(tmp_path):
    state = trained(tmp_path, [3.0, 1.0, 2.0], epochs=3)
    assert state.best_epoch == 1 and quality_of(SPLITS, state.best_score) == 1.0


def test_training_stops_early_when_the_error_stays(tmp_path):
    state = trained(tmp_path, [3.0, 1.0, 2.0, 2.5, 0.1], epochs=5, patience=2)
    assert state.epoch == 4 and state.best_epoch == 1


def test_a_start_with_a_smaller_error_than_every_epoch_remains(tmp_path):
    state = trained(tmp_path, [0.5, 3.0, 1.0], epochs=2, keep_start=True)
    assert state.best_epoch == -1 and quality_of(SPLITS, state.best_score) == pytest.approx(0.5)


def test_dev_score_is_higher_for_the_better_model():
    good, bad = tiny_bert(("score",), "regression", layers=1), tiny_bert(("score",), "regression", layers=1)
    bad.model.classifier.bias.data += 50
    dev = encode(SPLITS.dev, good.tokenizer)
    assert dev_quality(SPLITS, dev)(good.model) == pytest.approx(rmse(good, SPLITS.dev), rel=1e-5)
    assert dev_quality(SPLITS, dev)(good.model) < dev_quality(SPLITS, dev)(bad.model)
    assert dev_score(SPLITS, dev)(good.model) > dev_score(SPLITS, dev)(bad.model)


def test_a_fine_tuned_teacher_states_its_error_and_has_the_least(tmp_path):
    rows = "".join(f"card {'pay ' * (i % 5)}{i},{4 + i % 5 / 4}\n" for i in range(120))
    (tmp_path / "d.csv").write_text("text,y\n" + rows)
    save_checkpoint(tiny_bert(("y",), "regression", layers=1), tmp_path / "base")
    made = {}
    for metric in ("rmse", "pearson"):
        splits = load_data(tmp_path / "d.csv", task="regression", metric=metric, say=lambda _: None)
        settings = Training(epochs=4, learning_rate=0.01, batch_tokens=256)
        made[metric] = finetune(tmp_path / "base", splits, tmp_path / metric, settings=settings, progress=Silent(), say=lambda _: None)
    result = made["rmse"]
    assert result.dev > 0 and result.dev == pytest.approx(rmse(result.checkpoint, splits.dev), rel=1e-4)
    assert result.dev <= rmse(made["pearson"].checkpoint, splits.dev) * 1.001
    assert f"| dev | {result.dev:.4f} |" in (tmp_path / "rmse" / "README.md").read_text()


def test_distillation_that_only_does_harm_says_the_error_of_the_start(tmp_path):
    teacher = tiny_bert(("score",), "regression", layers=1)
    dev = replace(SPLITS.dev, targets=logits_of(teacher, SPLITS.dev)[:, 0])  # the teacher is right about everything
    splits = replace(SPLITS, dev=replace(dev, targets=dev.targets + np.float32(0.25)))
    student = make_student(None, teacher, splits.train, 0)
    context = tiny_context(teacher, splits, tmp_path)
    made = make_method({"distill": {"learning_rate": 1.0, "epochs": 2, "hard": 1.0}}, "r").apply(student, context)
    (note,) = made.notes
    assert float(re.search(r"\(([-\d.]+)\)", sentence(note)).group(1)) == pytest.approx(0.25, abs=1e-3)
    assert all(torch.equal(a, b) for a, b in zip(teacher.model.parameters(), made.model.parameters(), strict=True))


# --- choice and limits


def erring(m: Measurement, test: float, dev: float | None, half: float = 0.01) -> Measurement:
    """A measurement whose quality is an rmse."""
    quality = Quality(test, test - half, test + half, metric="rmse", split="test", n=9)
    on_dev = Quality(dev, dev - half, dev + half, metric="rmse", split="dev", n=9) if dev is not None else None
    return replace(m, quality=quality, dev_quality=on_dev or Quality(), calibration=type(m.calibration)(), per_class={})


def run_of(*errors: tuple[str, float, float | None]) -> list[Measurement]:
    """The teacher with an error of 0.5, and candidates as fast and as large as one another."""
    whole = plausible.results().measurements
    teacher = erring(whole[0], 0.5, 0.5)
    return [teacher] + [replace(erring(whole[5], test, dev), id=name, name=name) for name, test, dev in errors]


def test_of_equally_fast_candidates_the_smallest_error_is_chosen():
    run = run_of(("worse", 0.52, 0.51), ("better", 0.49, 0.49), ("unknown", 0.1, None))
    assert choose(run, run[0].id).id == "better"


def test_a_candidate_without_a_dev_error_is_not_the_best():
    run = run_of(("unknown", 0.6, None), ("known", 0.6, 0.6))
    assert choose(run, run[0].id, Limits(min_retention=0.5)).id == "known"


def test_a_larger_error_falls_short_of_the_limit():
    run = run_of(("half", 1.0, 1.0))
    choice = choose(run, run[0].id, Limits(min_retention=0.97))
    assert not choice.meets and choice.shortfall["retention"].value == pytest.approx(0.5)
    assert choose(run_of(("equal", 0.5, 0.5)), run[0].id, Limits(min_retention=0.97)).meets


def test_a_candidate_without_any_error_keeps_everything():
    run = run_of(("perfect", 0.0, 0.0))
    assert dev_retention(run[1], run[0]) == 1.0 and choose(run, run[0].id).meets


def test_the_front_holds_the_smaller_error():
    run = run_of(("worse", 0.6, 0.6), ("better", 0.4, 0.4))
    assert pareto(run[1:]) == ("better",)


def test_advice_prefers_the_smaller_error():
    run = run_of(("worse", 0.6, 0.45), ("better", 0.4, 0.3))
    whole = plausible.results(measurements=tuple(run), baseline=run[0].id, choice=None, pareto=(), disagreements={}, task="regression")
    scenario = replace(load_scenario("mobile"), requirements=({"quantity": "retention", "at_least": 0.5},))
    assert advise(whole, scenario).choice == "better"


# --- the limit on accuracy while quantizing


class Rounded:
    """Quantized models of a regressor that lose, by operator, what the operators in int8 lose."""

    targets = np.linspace(0, 1, 50).astype(np.float32)

    def __init__(self, harm: dict[str, float]) -> None:
        self.harm = harm

    def model(self, reverted: frozenset[str] | None) -> Any:
        error = 0.1 if reverted is None else 0.1 + sum(loss for name, loss in self.harm.items() if name not in reverted)
        values = (self.targets + error)[:, None].astype(np.float32)

        class Model:
            task, labels = "regression", ("score",)

            def scores(self, texts: list[str], pairs: object = None) -> Any:
                return values[: len(texts)]

        return Model()


def test_operators_are_put_back_until_the_error_is_small_enough():
    engine = Rounded({"harmless": 0.0, "harmful": 0.3})
    limit = AccuracyFloor(Examples([str(i) for i in range(50)], None, engine.targets, ""), "rmse", 0.9)

    def build(reverted: frozenset[str]) -> Trial:
        return Trial(engine.model(reverted), 1000 + len(reverted))

    kept = restore_accuracy(limit, engine.model(None), build, list(engine.harm), Silent())
    assert kept.reverted == ("harmful",) and kept.record["shortfall"] == 0
    assert kept.record["before"] == pytest.approx(0.1 / 0.4, rel=1e-4) and kept.record["value"] == pytest.approx(0.1, rel=1e-4)


# --- reports


def measured(test: float, dev: float) -> Measured:
    teacher = replace(erring(plausible.results().measurements[0], test, dev), id=BASELINE)
    return Measured((teacher,), {}, {}, baseline=BASELINE)


@pytest.mark.parametrize(("dev", "easy"), [(0.5, False), (0.9, False), (0.2, True)])
def test_a_dev_error_far_below_the_test_error_is_suspect(dev, easy):
    assert bool(_easy_dev(measured(0.5, dev), SPLITS)) is easy


def test_a_smaller_error_is_drawn_higher():
    points = [Point("good", "good", 1.0, 0.2, 0.1, 0.3, "front"), Point("bad", "bad", 2.0, 0.9, 0.8, 1.0, "other")]
    drawn = plot(points, Phrases("en"), x_label="x", y_label="rmse", title="t", share=False, less_is_better=True)
    heights = dict(re.findall(r'data-id="(\w+)".*?cy="([\d.]+)"', drawn))
    assert float(heights["good"]) < float(heights["bad"])  # pixels count from the top
    line = re.search(r'class="frontline" points="([^"]+)"', drawn).group(1)
    assert len(line.split()) == 1, "the faster one is better too: nothing else is on the front"


def test_the_table_and_the_report_state_what_is_kept_of_an_error(tmp_path):
    run = run_of(("half", 1.0, 1.0))
    choice = choose(run, run[0].id, Limits(min_retention=0.4))
    data = replace(plausible.results().data, metric="rmse")
    whole = plausible.results(measurements=tuple(run), baseline=run[0].id, choice=choice, pareto=pareto(run), disagreements={},
                              task="regression", data=data)  # fmt: skip
    column = next(column for column in results_table(whole).columns if column.header == "dev ret.")
    assert list(column.cells)[1] == "50.0 %"
    write_report(whole, tmp_path / "r.html")
    assert "50.0%" in (tmp_path / "r.html").read_text("utf-8")


def test_no_error_is_turned_round_twice():
    metric = task_of("regression").metric("rmse")
    assert metric.merit(metric.merit(2.0)) == 2.0 and math.isinf(metric.merit(math.inf))
