"""A Transformer taught to an LSTM: the same network on labels alone and by its teacher, then in int8. Bundled data; two or three minutes.

    python examples/lstm.py [--out DIR] [--fast]

The messages are those of ``imbik demo``, the teacher is fine-tuned from its encoder. The LSTM reads the teacher's word pieces from both
ends, starts from the teacher's vectors of them, and learns from texts that the teacher labels beside the messages. From the command line:
``imbik compress --recipe lstm+int8``, and ``--unlabelled`` for texts of your own without labels.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import imbik
from imbik.demo import open_lesson
from imbik.export.artefact import export

LEARN = "temperature: 2.0, target_steps: 600, most_epochs: 300, learning_rate: 2.0e-3, batch_tokens: 4096, piece_dropout: 0.1"
RECIPES = {
    "labels alone": f"""
name: lstm-alone
student: {{family: lstm, hidden: 128, units: 64, init: answers}}
steps:
  - distill: {{{LEARN}, hard: 1.0}}
""",
    "distilled": f"""
name: lstm-distilled
student: {{family: lstm, hidden: 128, units: 64, init: answers}}
steps:
  - distill: {{{LEARN}, augment: {{masked_model: none, copies: 8}}}}
""",
    "distilled, int8": f"""
name: lstm-int8
student: {{family: lstm, hidden: 128, units: 64, init: answers}}
steps:
  - distill: {{{LEARN}, augment: {{masked_model: none, copies: 8}}}}
  - quantize: {{scheme: dynamic}}
""",
}


def main(out: Path, *, fast: bool = False) -> dict[str, float]:
    """Accuracy of the teacher and of the LSTMs on test, and the bytes of the last one's artefact."""
    lesson = open_lesson(out, fast=fast)
    found = {"teacher": lesson.accuracy(lesson.teacher)}
    for name, recipe in RECIPES.items():
        student = lesson.student(recipe)
        found[name] = lesson.accuracy(student)
    # compared with PyTorch before the folder appears; running it needs neither PyTorch nor transformers
    artefact = export(student, "onnx", out / "lstm-onnx", texts=lesson.splits.dev)
    model = imbik.load_artefact(artefact.path, threads=1)
    print(f"My card has not arrived: {model.labels[model.predict(['My card has not arrived'])[0].argmax()]}")
    return found | {"bytes of its artefact": float(artefact.bytes)}


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--out", type=Path, help="keeps what is made (default: a temporary folder)")
    arguments.add_argument("--fast", action="store_true", help="three steps of every training: the code in seconds, not the figures")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        for name, value in main(given.out or Path(temporary), fast=given.fast).items():
            print(f"{name:22s} {value:,.3f}" if value <= 1 else f"{name:22s} {value:,.0f}")
