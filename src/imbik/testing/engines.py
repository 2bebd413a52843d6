"""What an author of an engine runs on it, in our tests and outside of them: the contract of engines as checks."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from imbik.errors import UserError
from imbik.export.artefact import export
from imbik.export.builders.registry import builders, refusal
from imbik.jobs.progress import Silent
from imbik.models.checkpoint import save_checkpoint
from imbik.runtime.engines.engine import SessionEngine
from imbik.runtime.engines.registry import engine, engines
from imbik.runtime.manifest import MANIFEST_FILE
from imbik.runtime.predictor import Predictor, load_artefact
from imbik.students.catalogue import make_student
from imbik.testing.tiny import tiny_bert, tiny_splits
from imbik.types import Checkpoint

TEXTS = (
    "my card",
    "",
    "card",
    "please send the money to my old account today " * 3,
    "card " * 200,
    "x" * 500,
    "我的卡在哪里",
    "\ud800 lone surrogate",
    "a\x00b",
    "why is the fee so late",
)
"""Short, empty, long, cut, unknown and odd texts: no two neighbors of one length."""

FLOAT = 1e-3
"""Largest difference of logits, relative to the largest, between two ways of asking a float engine the same."""

HALF = 5e-2
"""The same for an engine that computes in bfloat16 or float16."""


def check_engine(name: str, directory: Path, *, checkpoint: Checkpoint | None = None) -> Path:
    """Run a registered engine through the contract; an AssertionError says which clause it breaks.

    Checked: it says what it needs; what its builder makes passes the parity gate; the answers are those of transformers for short,
    empty, cut and odd texts; a text is answered alike alone, beside others and in any order, with one thread and with two, and by a
    predictor that several threads ask at once; an answer is not overwritten by the next; a file that is cut short or overwritten is
    refused with a message to the user; a quantization scheme that nobody knows is refused. An engine that this machine cannot run must
    refuse in the same way, and nothing else is checked.

    Args:
        name: of the engine.
        directory: empty.
        checkpoint: what it runs; default: :func:`tiny_bert`, or a bag of its pieces for an engine of students without layers. It must
            not compute in float16 itself.

    Returns:
        The folder that the engine ran.
    """
    known = engines()[name]
    assert isinstance(known, SessionEngine), "an engine that composes artefacts is checked by what it composes"
    checkpoint = checkpoint or _tiny_for(name)
    assert known.packages and known.title and known.devices, "an engine names its packages, its title and its devices"
    assert known.runs_checkpoints or name in builders(), "an engine that runs artefacts has a builder (imbik.export.builders)"
    folder = directory / "model"
    if known.runs_checkpoints:
        save_checkpoint(checkpoint, folder)
    else:
        engine(name)
        _check_builder(name, str(checkpoint.model.config.model_type))
        export(checkpoint, name, folder, texts=tiny_splits(checkpoint.task).dev, progress=Silent())
    if not known.available():
        _check_refused(folder, name, "this machine cannot run it")
        return folder
    _check_answers(folder, name, reference_logits(checkpoint, TEXTS))
    _check_damage(folder, directory / "damaged", name)
    return folder


def _tiny_for(name: str) -> Checkpoint:
    """Return a tiny model that the engine takes."""
    teacher = tiny_bert(layers=1)
    if name not in builders() or builders()[name].takes(str(teacher.model.config.model_type)):
        return teacher
    return make_student({"family": "bag", "hidden": 32}, teacher, tiny_splits(teacher.task).train, 0)


def _check_builder(name: str, architecture: str) -> None:
    assert refusal(name, (), architecture) is None, "a float model is never refused for its steps"
    assert refusal(name, ({"quantize": {"scheme": "no-such-scheme"}},), architecture), "an unknown quantization scheme is refused"
    for scheme in builders()[name].schemes:
        step = {"quantize": {"scheme": scheme}}
        assert refusal(name, (step,), architecture) is None, f"the scheme {scheme} is declared and refused"


def _check_answers(folder: Path, name: str, expected: NDArray[np.float32]) -> None:
    # every other way of asking below is compared with this one
    one = load_artefact(folder, threads=1, engine_name=name)
    assert (one.engine, one.threads) == (name, 1)
    tolerance = (HALF if one.manifest.get("precision", "f32") != "f32" else FLOAT) * max(float(np.abs(expected).max()), 1e-6)

    def check(scores: NDArray[np.float32], other: NDArray[np.float32], clause: str) -> None:
        assert scores.dtype == np.float32 and scores.shape == other.shape, f"{clause}: {scores.dtype} {scores.shape}"
        gap = float(np.abs(scores - other).max())
        assert np.isfinite(gap) and gap <= tolerance, f"{clause}: logits differ by {gap:.2e}"

    scores = scores_of(one, TEXTS)
    answer = scores_of(one, TEXTS[:1])
    # a session that hands out its own buffer would change `answer` with the next request
    kept = answer.copy()
    scores_of(one, TEXTS[2:3])
    assert np.array_equal(answer, kept), "an answer was overwritten by a later one"
    check(scores, expected, "not what transformers computes")
    check(np.concatenate([scores_of(one, [text]) for text in TEXTS]), scores, "alone and beside others")
    check(scores_of(one, TEXTS[::-1])[::-1], scores, "in another order")
    check(scores_of(load_artefact(folder, threads=2, engine_name=name), TEXTS), scores, "with two threads")
    assert scores_of(one, []).shape == (0, scores.shape[1]), "no texts, no rows"
    with ThreadPoolExecutor(4) as pool:
        for row, answer in enumerate(pool.map(lambda row: scores_of(one, [TEXTS[row % len(TEXTS)]]), range(40))):
            check(answer, scores[[row % len(TEXTS)]], "asked by several threads at once")
    assert one.warm_up() >= 1, "warm_up runs at least one shape"


def scores_of(model: Predictor, texts: Sequence[str]) -> NDArray[np.float32]:
    """Return logits ``(N, L)`` of a model that gives one row a text."""
    outputs = model.scores(texts)
    assert isinstance(outputs, np.ndarray), "one row of logits a text"
    return outputs


def reference_logits(checkpoint: Checkpoint, texts: Sequence[str]) -> NDArray[np.float32]:
    """Return what transformers computes of each text alone, tokenized by its own tokenizer: logits ``(N, L)``."""
    rows = []
    for text in texts:
        # lone surrogates become question marks, as the runtime does it
        clean = text.encode("utf-8", "replace").decode("utf-8")
        feed = checkpoint.tokenizer(clean, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            rows.append(checkpoint.model(**feed).logits.float().numpy())
    return np.concatenate(rows)


def _check_damage(folder: Path, copy: Path, name: str) -> None:
    """Every file of the folder that the model or the tokenizer needs, cut short and overwritten, one at a time."""
    opened = load_artefact(folder, engine_name=name)
    for file in (str(opened.manifest["model"]), str(opened.manifest["tokenizer"])):
        content = (folder / file).read_bytes()
        # cut short, as a broken copy is, and of the right size but wrong throughout
        for damaged in (content[: len(content) // 2], b"x" * len(content)):
            shutil.copytree(folder, copy)
            (copy / file).write_bytes(damaged)
            _check_refused(copy, name, f"{file} is damaged")
            shutil.rmtree(copy)
    if (folder / MANIFEST_FILE).is_file():
        shutil.copytree(folder, copy)
        (copy / str(opened.manifest["model"])).unlink()
        _check_refused(copy, name, "the model is missing")
        shutil.rmtree(copy)


def _check_refused(folder: Path, name: str, why: str) -> None:
    predictor: Predictor | Any = None
    try:
        predictor = load_artefact(folder, engine_name=name)
    except UserError:
        return
    except Exception as error:
        raise AssertionError(f"{why}, and the user gets {type(error).__name__} instead of a UserError: {error}") from error
    assert predictor is None, f"{why}, and it was opened"
