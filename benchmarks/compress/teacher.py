"""A fine-tuned teacher beside what one would try first, by quality alone: no artefacts and no times, minutes on one core.

    python -m benchmarks.compress.teacher --data tr_reviews --teacher DIR --name tr_reviews-teacher

DIR is what ``imbik finetune`` left; its own record says how long it learned. The rivals are those of ``imbik compress``: tf-idf of words
and of characters under a linear support vector machine, chosen on dev. The result is benchmarks/results/compress/NAME.json.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import clock, parser, record
from benchmarks.compress.run import data_path
from imbik.data.load import load_data
from imbik.linear.support import CHARACTERS, WORDS, tfidf_svm
from imbik.models.checkpoint import labels_of
from imbik.models.pretrained import load_checkpoint
from imbik.tasks.outputs import Outputs
from imbik.tasks.retention import gain, quality
from imbik.training.encoding import encode_for
from imbik.training.prediction import predict
from imbik.types import Examples, Splits

RIVALS = {"tfidf-words": WORDS, "tfidf-characters": CHARACTERS}


def qualities(splits: Splits, outputs: Callable[[Examples], Outputs]) -> dict[str, Any]:
    """Return the quality of a model on dev and test, with its outputs of test."""
    given = {name: outputs(getattr(splits, name)) for name in ("dev", "test")}
    return {name: quality(splits, name, getattr(splits, name), given) for name in given} | {"outputs": given["test"]}


def without_outputs(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a row is stored."""
    return {name: value for name, value in row.items() if name != "outputs"}


def main() -> None:
    arguments = parser(__doc__, "data!", "teacher!")
    arguments.add_argument("--name", required=True, help="of the result")
    options = arguments.parse_args()
    teacher = load_checkpoint(options.teacher)
    splits = load_data(data_path(options.data), labels=labels_of(teacher), task=teacher.task, say=print)
    made = json.loads((Path(options.teacher) / "finetune.json").read_text(encoding="utf-8"))
    rows = {
        "teacher": qualities(splits, lambda part: predict(teacher.model, encode_for(splits.task, part, teacher.tokenizer), splits.task))
    }
    rows["teacher"]["seconds"] = made["seconds"]
    for name, cuts in RIVALS.items():
        with clock() as spent:
            model = tfidf_svm(splits, cuts)
        rows[name] = qualities(splits, lambda part, model=model: np.asarray(model.scores(part.texts)))  # type: ignore[misc]
        rows[name]["seconds"] = spent.wall
        rows["teacher"][f"over {name}"] = gain(splits, rows["teacher"]["outputs"], rows[name]["outputs"])
    learned = {name: made[name] for name in ("epochs", "best_epoch", "truncated")}
    counts = {name: len(getattr(splits, name)) for name in ("train", "dev", "test")}
    record(
        f"compress/{options.name}",
        {"rows": counts, "learned": learned, "models": {name: without_outputs(row) for name, row in rows.items()}},
        options,
    )


if __name__ == "__main__":
    main()
