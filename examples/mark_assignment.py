"""Mark the course's assignment: a run of `imbik compress` on the student's own data, against limits.

    python examples/mark_assignment.py RUN --data DATA --limits limits.yaml [--candidate ID] [--lang tr] [--json marks.json]

The limits are requirements as a scenario of `imbik advise` has them, each with its weight:

    name: assignment
    requirements:
      - {quantity: retention, at_least: 0.95, weight: 3}
      - {quantity: megabytes, at_most: 25, weight: 2}
      - {quantity: latency_p95_ms, at_most: 50, weight: 2}

60 points are for the limits, by weight: all where it is kept, half where it is missed by at most a tenth. 40 points, four times ten, are
for what makes a result believable: (1) the artefact's files are those that were measured, (2) it gives the reported quality on DATA's
test split again, (3) quality stands with its interval on at least 100 rows, (4) the rivals stand in the same run (`--rivals`). What a
person must judge (text, reasons) is in the rubric of the lecturer's pack. Exit code 0: marked; 2: something cannot be read.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from imbik.advise import advise, load_scenario
from imbik.data import load_evaluation
from imbik.errors import UserError
from imbik.locale.language import speaking, told
from imbik.locale.phrases import Phrases
from imbik.measure import Measurement, Results, load_results
from imbik.runtime import load_artefact, verify
from imbik.tasks.registry import task_of

LIMITS, BELIEVABLE, NEAR, ROWS = 60.0, 10.0, 0.1, 100

SAID = {
    "en": {"limit": "limit", "believe": "believable", "total": "total", "of": "of", "missing": "not measured",
           "files": "files are those that were measured", "again": "the quality is found again", "interval": "interval, enough rows",
           "rivals": "rivals in the same run", "candidate": "candidate",
           "found": "{again:.4f} on {rows} rows; reported {value:.4f} on {n}"},
    "tr": {"limit": "sınır", "believe": "inandırıcılık", "total": "toplam", "of": "/", "missing": "ölçülmemiş",
           "files": "dosyalar ölçülenlerle aynı", "again": "nitelik yeniden bulundu", "interval": "güven aralığı, yeterli satır",
           "rivals": "rakipler aynı koşuda", "candidate": "aday",
           "found": "{rows} satırda {again:.4f}; bildirilen: {n} satırda {value:.4f}"},
}  # fmt: skip


@dataclass(frozen=True)
class Mark:
    """One line of the sheet.

    Attributes:
        what: a quantity of the limits, or one of the four checks.
        points, most: given, and possible.
        found: what was found, for the student.
    """

    what: str
    points: float
    most: float
    found: str


def mark_limits(results: Results, candidate: str, limits: Path, lang: str) -> list[Mark]:
    """Judge one candidate by every limit, as `imbik advise` does."""
    scenario, texts = load_scenario(str(limits)), Phrases(lang)
    verdict = advise(results, scenario).verdicts[candidate]
    whole = sum(one.weight for one in verdict.requirements)
    marks = []
    for one in verdict.requirements:
        share = 1.0 if one.meets else 0.5 if one.headroom is not None and one.headroom >= -NEAR else 0.0
        sign = "≥" if one.sense == "at_least" else "≤"
        value = SAID[lang]["missing"] if one.value is None else texts.unit(one.value, one.unit)
        most = LIMITS * one.weight / whole
        marks.append(Mark(one.quantity, share * most, most, f"{value} ({sign} {texts.limit(one.limit, one.unit)})"))
    return marks


def quality_again(artefact: Path, data: Path, measured: Measurement) -> tuple[float, int]:
    """Return the artefact's quality on the data's test split, and the rows it was measured on."""
    predictor = load_artefact(artefact)
    evaluation = load_evaluation(data, labels=predictor.labels, task=predictor.task, metric=measured.quality.metric, say=lambda _line: None)
    rows = evaluation.test
    answers = predictor.predict(list(rows.texts), None if rows.pairs is None else list(rows.pairs))
    return float(task_of(predictor.task).score(measured.quality.metric, answers, np.asarray(rows.targets))), len(rows)


def mark_belief(results: Results, measured: Measurement, run: Path, data: Path, lang: str) -> list[Mark]:
    """Check what makes the numbers believable."""
    texts = Phrases(lang)
    artefact = run / measured.name / "artefacts" / measured.engine
    try:
        verify(artefact)
        intact, why = True, str(artefact)
    except UserError as error:
        intact, why = False, told(error)
    quality, n = measured.quality, measured.quality.n or 0
    again, rows = quality_again(artefact, data, measured) if intact else (float("nan"), 0)
    # the same artefact on another processor may round one text in a thousand the other way
    same = intact and quality.value is not None and rows == n and abs(again - quality.value) <= max(2.0 / max(rows, 1), 0.002)
    spread = quality.low is not None and quality.high is not None and n >= ROWS
    rivals = [one.id for one in results.measurements if one.rival]
    given = SAID[lang]["found"].format(again=again, rows=rows, value=quality.value or float("nan"), n=n)
    ends = [texts.quality(quality.metric, end) for end in (quality.low, quality.high) if end is not None]
    found = [
        ("files", intact, why),
        ("again", same, given.replace(".", ",") if lang == "tr" else given),
        ("interval", spread, f"{' – '.join(ends)}, n = {n}"),
        ("rivals", bool(rivals), ", ".join(rivals) or "-"),
    ]
    return [Mark(name, BELIEVABLE if good else 0.0, BELIEVABLE, text) for name, good, text in found]


def mark(run: Path, data: Path, limits: Path, candidate: str | None = None, lang: str = "en") -> tuple[str, list[Mark]]:
    """Return the marked candidate and its sheet.

    Raises:
        UserError: a file that cannot be read, or no such candidate.
    """
    results = load_results(run / "results.json")
    chosen = candidate or (results.choice.id if results.choice else None)
    measured = results.get(chosen)
    if measured is None or chosen is None:
        raise UserError(
            "no such candidate", where=run / "results.json", found=chosen, expected=", ".join(one.id for one in results.measurements)
        )
    return chosen, [*mark_limits(results, chosen, limits, lang), *mark_belief(results, measured, run, data, lang)]


def main(arguments: list[str] | None = None) -> int:
    """Print the sheet; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--limits", type=Path, required=True)
    parser.add_argument("--candidate")
    parser.add_argument("--lang", choices=sorted(SAID), default="en")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    with speaking(options.lang):
        try:
            candidate, marks = mark(options.run, options.data, options.limits, options.candidate, options.lang)
        except UserError as error:
            print(told(error), file=sys.stderr)
            return 2
    said, texts = SAID[options.lang], Phrases(options.lang)
    print(f"{said['candidate']}: {candidate}")
    for one in marks:
        kind = said["limit"] if one.what not in said else said["believe"]
        what = said.get(one.what) or texts(f"quantity.{one.what}")
        print(f"{kind:14} {what:34} {one.points:5.1f} {said['of']} {one.most:4.1f}   {one.found}")
    # rounded once, at the end: thirds that are rounded one by one do not add up to a hundred
    total = round(sum(one.points for one in marks), 1)
    print(f"{said['total']:14} {'':34} {total:5.1f} {said['of']} {sum(one.most for one in marks):4.1f}")
    if options.json:
        document = {"candidate": candidate, "total": total, "marks": [asdict(one) for one in marks]}
        options.json.write_text(json.dumps(document, ensure_ascii=False, indent=2), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
