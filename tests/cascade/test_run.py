"""A cascade as an artefact: the answers of its stages, one predict everywhere, measured as it is, refused where it makes no sense."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

from imbik.cascade.policy import Target
from imbik.cascade.run import Abstain, Made, cascade, make_cascade
from imbik.cascade.stages import Source, answered, check_task, sources
from imbik.errors import UserError
from imbik.export.linear import write_linear
from imbik.jobs.progress import Silent
from imbik.linear.support import tfidf_svm
from imbik.measure.measurement import Measurement
from imbik.measure.results import Results, load_results, write_results
from imbik.report.render import write_report
from imbik.runtime.cascade import Cascade
from imbik.runtime.manifest import artefact_files, verify
from imbik.runtime.ngrams import Cut
from imbik.runtime.predictor import load_artefact
from imbik.testing.tiny import tiny_splits

SPLITS = tiny_splits(rows=120)
TEXTS = [*SPLITS.test.texts, "", "nothing that was ever seen", "card " * 60]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with two candidates: one that reads few words, one that reads all."""
    folder = tmp_path_factory.mktemp("run")
    model = tfidf_svm(SPLITS, (Cut(1),))
    few = replace(model, vocabulary=model.vocabulary.take(np.arange(3)), weights=model.weights[:3])
    for name, one in (("few", few), ("all", model)):
        write_linear(one, folder / name / "artefacts" / "numpy", SPLITS, ({"made": {"by": name}},))
    return folder


def _chain(run: Path, *names: str) -> list[Source]:
    return [Source(f"{name}/numpy", run / name / "artefacts" / "numpy") for name in names or ("few", "all")]


def _made(run: Path, folder: Path, target: Target | None = None, abstain: Abstain | None = None) -> Made:
    stages = [answered(source, SPLITS.dev, 1, Silent()) for source in _chain(run)]
    return make_cascade(stages, SPLITS, target or Target(keep=0.9), folder, abstain)


def _opened(folder: Path) -> Cascade:
    model = load_artefact(folder, threads=1)
    assert isinstance(model, Cascade)
    return model


def test_each_text_is_answered_by_the_first_stage_that_is_sure(run: Path, tmp_path: Path) -> None:
    made = _made(run, tmp_path / "c")
    model = _opened(made.folder)
    first, second = (load_artefact(source.folder, threads=1).scores(TEXTS) for source in _chain(run))
    (w1, w2), (_, e2) = made.chain.weights, made.chain.earlier
    expected, by = [], []
    for row in range(len(TEXTS)):
        own = w1 * first[row]
        sure = softmax(own).max() >= made.policy.thresholds[0]
        by.append(0 if sure else 1)
        expected.append(own if sure else e2 * own + w2 * second[row])
    assert 0 < sum(by) < len(TEXTS), "both stages answer some"
    np.testing.assert_allclose(model.scores(TEXTS), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.concatenate([model.scores([text]) for text in TEXTS]), expected, rtol=1e-4, atol=1e-5)
    assert model.answered(TEXTS)[1].tolist() == by
    np.testing.assert_allclose(model.predict(TEXTS), softmax(expected, axis=1), rtol=1e-3, atol=1e-5)
    kept = model.remembered()
    model.remember({})
    assert model.remembered() == {number: type(words)() for number, words in kept.items()}
    model.remember(kept)
    model.read(TEXTS)
    np.testing.assert_allclose(model.scores(TEXTS), expected, rtol=1e-4, atol=1e-5)
    assert model.scores([]).shape == (0, 3) and model.warm_up() >= 2


def test_abstaining_is_a_label_of_its_own(run: Path, tmp_path: Path) -> None:
    made = _made(run, tmp_path / "c", abstain=Abstain(0.02, "none of these"))
    plain, model = _opened(_made(run, tmp_path / "d").folder), _opened(made.folder)
    assert model.labels == (*SPLITS.labels, "none of these") and made.abstention is not None
    probabilities, before = model.predict(TEXTS), plain.predict(TEXTS)
    refused = before.max(axis=1) < made.abstention.threshold
    assert 0 < refused.sum() < len(TEXTS)
    assert (probabilities.argmax(axis=1) == len(SPLITS.labels)).tolist() == refused.tolist()
    # an answer that is given is as sure as it was; of one that is not, half stays with the labels
    np.testing.assert_allclose(probabilities[~refused, :-1], before[~refused], atol=1e-6)
    np.testing.assert_allclose(probabilities[refused, :-1], before[refused] / 2, atol=1e-6)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    assert (~made.chain.right[-1]).mean() > 0.02, "the risk that was asked for asks for something"


def test_the_folder_is_whole_and_replaced_as_such(run: Path, tmp_path: Path) -> None:
    folder = _made(run, tmp_path / "c").folder
    assert verify(folder)["engine"] == "cascade"
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert artefact_files(folder) == files and "stages/1-few-numpy/manifest.json" in files
    _made(run, tmp_path / "c", Target(keep=1.0))
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"notes\.txt"):
        _made(run, tmp_path / "c")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda plan: plan["stages"][0].pop("weight"), "cannot be read"),
        (lambda plan: plan["stages"][0].update(threshold=None), "cannot be read"),
        (lambda plan: plan["stages"][1].update(threshold=0.5), "cannot be read"),
        (lambda plan: plan.update(stages=[]), "cannot be read"),
        (lambda plan: plan["stages"][0].update(folder="../elsewhere"), "leads out of its folder"),
        (lambda plan: plan.update(abstain={"label": "x", "threshold": 0.5}), "do not answer alike"),
    ],
)
def test_a_damaged_plan_is_one_message(run: Path, tmp_path: Path, change, message: str) -> None:  # type: ignore[no-untyped-def]
    folder = _made(run, tmp_path / "c").folder
    plan = json.loads((folder / "cascade.json").read_text())
    change(plan)
    (folder / "cascade.json").write_text(json.dumps(plan))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["cascade.json"]["bytes"] = (folder / "cascade.json").stat().st_size
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=message):
        load_artefact(folder)
    shutil.rmtree(folder)


def test_it_is_measured_beside_its_stages_and_reported(run: Path, tmp_path: Path) -> None:
    said: list[str] = []
    outside = replace(SPLITS.test, texts=["zzz qqq", "volcano sonata"], targets=None)
    results = cascade(
        _chain(run),
        SPLITS,
        tmp_path,
        target=Target(keep=0.95),
        abstain=Abstain(0.1, outside=outside),
        threads=1,
        progress=Silent(),
        say=said.append,
    )
    assert [m.id for m in results.measurements] == ["cascade/cascade", "few/numpy", "all/numpy"]
    own, few, whole = results.measurements
    assert own.cascade.stages == ("few/numpy", "all/numpy") and sum(own.cascade.shares) == pytest.approx(1)
    assert own.bytes and few.bytes and whole.bytes and own.bytes > few.bytes + whole.bytes
    assert own.latency_ms.p50 and own.throughput.items_per_s and own.params == (few.params or 0) + (whole.params or 0)
    found, model = own.selective, _opened(tmp_path / "cascade" / "artefacts" / "cascade")
    answers, targets = model.predict(SPLITS.test.texts).argmax(axis=1), np.asarray(SPLITS.test.targets)
    given = answers < 3
    assert found.coverage == pytest.approx(given.mean()) and found.risk == pytest.approx((answers != targets)[given].mean())
    assert own.quality.value == pytest.approx((answers == targets).mean()), "a text that is not answered is not answered rightly"
    assert (found.outside, found.label) == (2, "abstain") and found.refused is not None and found.auroc is not None
    assert found.curve_coverage[-1] == 1.0 and list(found.curve_coverage) == sorted(found.curve_coverage)
    assert "cascade: " in said[0] and "few/numpy" in said[0]
    write_results(tmp_path / "results.json", results)
    assert load_results(tmp_path / "results.json").measurements == results.measurements
    for lang, word in (("en", "leaves"), ("tr", "yanıtsız")):
        write_report([results], tmp_path / "report.html", lang=lang)
        page = (tmp_path / "report.html").read_text(encoding="utf-8")
        assert word in page and 'class="frontline" points="' in page and "abstain" in page


def test_candidates_are_found_by_name_and_others_named(run: Path) -> None:
    known = Results(measurements=tuple(Measurement(f"{name}/numpy", name, "numpy") for name in ("few", "all", "gone")))
    assert sources(run, known, ["all", "few/numpy"]) == _chain(run, "all", "few")
    with pytest.raises(UserError, match="few, all, gone"):
        sources(run, known, ["bag"])
    with pytest.raises(UserError, match="not there"):
        sources(run, known, ["gone"])


def test_what_has_no_one_probability_is_refused() -> None:
    for other in (tiny_splits("regression"), tiny_splits("multi-label")):
        with pytest.raises(UserError, match="one label each"):
            check_task(other)
    with pytest.raises(UserError, match="texts, not images"):
        check_task(replace(SPLITS, task="image-classification"))
    check_task(SPLITS)


def test_labels_and_risks_that_make_no_sense_are_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="one of the task's"):
        _made(run, tmp_path / "c", abstain=Abstain(0.1, SPLITS.labels[0]))
    with pytest.raises(UserError, match="different labels"):
        stages = [answered(source, SPLITS.dev, 1, Silent()) for source in _chain(run)]
        make_cascade(stages, replace(SPLITS, labels=("x", "y", "z")), Target(), tmp_path / "c")
