"""A masked-language-model head on an encoder that has none: perplexity and accuracy on held-out blocks, before and after.

    python -m benchmarks.pretraining.head --data wikitext2 [--base DIR]

``imbik finetune --task mlm`` with its defaults: the head alone learns. The result is benchmarks/results/pretraining/head.json.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from benchmarks.common import clock, parser, record
from imbik.data import bundled_base
from imbik.data.documents import open_documents
from imbik.finetune.mlm import HEAD, finetune_mlm
from imbik.jobs.progress import progress_for


def main() -> None:
    arguments = parser(__doc__, "data!", "base", "threads")
    options = arguments.parse_args()
    base = Path(options.base) if options.base else bundled_base()
    size = sum(path.stat().st_size for path in Path(options.data).rglob("*.txt")) if Path(options.data).is_dir() else 0
    with tempfile.TemporaryDirectory() as folder, clock() as spent:
        fitted = finetune_mlm(
            base, open_documents(options.data), Path(folder) / "lm", progress=progress_for(Console(stderr=True)), say=print
        )
    numbers = {
        "corpus_bytes": size,
        "blocks": fitted.blocks,
        "before": asdict(fitted.before),
        "after": asdict(fitted.after),
        "epochs": HEAD.epochs,
        "training_s": fitted.seconds,
        "wall_s": spent.wall,
    }
    print(numbers)
    record("pretraining/head", numbers, options)


if __name__ == "__main__":
    main()
