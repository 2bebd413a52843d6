"""Cascades of a finished run: what chains of its candidates answer rightly, who answers at a target, what stays unanswered.

    python -m benchmarks.cascade.run --run WORK/banking77/run --data DATA --name banking77 --chain bag+vocabulary-tight+int8,int8 ... \\
        [--outside trec/test.csv]

Weights and thresholds come from dev, figures from test. Recorded are every stage alone, every chain with all stages read for every text,
and of the first chain: the shares of test answered by each stage where as many dev texts as the teacher gets are to be right, and what is
left unanswered where at most 3 % of the dev answers may be wrong, on test and on texts that are not of the task. Nothing is timed but the
costs that order the policies. The result is benchmarks/results/cascade/NAME.json, which table.py reads.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import parser, record
from imbik.cascade.policy import Target
from imbik.cascade.run import Abstain, make_cascade
from imbik.cascade.stages import Answered, Chain, answered, sources
from imbik.data import load_data
from imbik.jobs.progress import Silent
from imbik.measure.predictions import Predictions, load_predictions
from imbik.measure.results import load_results
from imbik.runtime import load_artefact
from imbik.runtime.cascade import Cascade, confidence
from imbik.tasks.outputs import only
from imbik.tasks.retention import quality
from imbik.types import Splits

RISK = 0.03
"""Largest share of wrong answers on dev where a cascade abstains."""


def judged(splits: Splits, logits: Any) -> dict[str, Any]:
    """Return accuracy on test with its interval."""
    return quality(splits, "test", splits.test, {"test": logits})


def whole(stages: Sequence[Answered], test: dict[str, Any], splits: Splits) -> dict[str, Any]:
    """Return what a chain answers rightly where every stage reads every text."""
    chain = Chain.of(stages, np.asarray(splits.dev.targets, np.int64))
    said: Any = 0.0
    for stage, weight, earlier in zip(chain.stages, chain.weights, chain.earlier, strict=True):
        said = weight * test[stage.source.id] + earlier * said
    return {"stages": [stage.source.id for stage in stages], **judged(splits, np.asarray(said, np.float32))}


def at_target(stages: Sequence[Answered], splits: Splits, teacher: Predictions | None, outside: list[str]) -> dict[str, Any]:
    """Make the artefact that gets as many dev texts as the teacher; who answers, and what it leaves unanswered."""
    with tempfile.TemporaryDirectory() as folder:
        made = make_cascade(stages, splits, Target(keep=1.0), Path(folder) / "cascade", Abstain(RISK), teacher)
        model = load_artefact(made.folder, threads=1)
        assert isinstance(model, Cascade)
        assert made.abstention is not None
        logits, by = model.answered(splits.test.texts)
        strange = confidence(model.answered(outside)[0]) if outside else np.zeros(0)
    given = confidence(logits) >= made.abstention.threshold
    right = logits.argmax(1) == np.asarray(splits.test.targets)
    return {
        "stages": [stage.source.id for stage in stages],
        "met": made.policy.met,
        "dev": {"right": made.policy.right, "reference": made.reference, "cost": made.policy.cost / stages[-1].cost},
        "test": judged(splits, logits),
        "shares": (np.bincount(by, minlength=len(stages)) / len(by)).tolist(),
        "risk": RISK,
        "answered": float(given.mean()),
        "wrong of answered": float((~right[given]).mean()),
        "outside": {"texts": len(outside), "unanswered": float((strange < made.abstention.threshold).mean()) if outside else None},
    }


def first_column(file: Path) -> list[str]:
    """Return the texts of a CSV file with a heading."""
    with file.open(encoding="utf-8", newline="") as lines:
        return [row[0] for row in csv.reader(lines)][1:]


def main() -> None:
    arguments = parser(__doc__, "data!", "threads")
    arguments.add_argument("--run", type=Path, required=True, help="the folder of imbik compress")
    arguments.add_argument("--name", required=True, help="of the result")
    arguments.add_argument("--chain", action="append", required=True, help="names of candidates, cheapest first, with commas between")
    arguments.add_argument("--outside", type=Path, help="a CSV file of texts that are not of the task")
    options = arguments.parse_args()
    splits = load_data(options.data, say=lambda line: None)
    results = load_results(options.run / "results.json")
    chains = [chain.split(",") for chain in options.chain]
    stages = {
        name: answered(sources(options.run, results, [name])[0], splits.dev, options.threads, Silent())
        for name in dict.fromkeys(name for chain in chains for name in chain)
    }
    test = {
        stage.source.id: only(load_artefact(stage.source.folder, threads=options.threads).scores(splits.test.texts))
        for stage in stages.values()
    }
    stored = options.run / "teacher" / "predictions.npz"
    teacher = load_predictions(stored) if stored.is_file() else None
    outside = first_column(options.outside) if options.outside else []
    numbers = {
        "rows": {name: len(getattr(splits, name).texts) for name in ("dev", "test")},
        "alone": {stage.source.id: judged(splits, test[stage.source.id]) for stage in stages.values()},
        "chains": [whole([stages[name] for name in chain], test, splits) for chain in chains],
        "target": at_target([stages[name] for name in chains[0]], splits, teacher, outside),
    }
    record(f"cascade/{options.name}", numbers, options)


if __name__ == "__main__":
    main()
