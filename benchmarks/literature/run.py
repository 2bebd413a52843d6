"""Size and speed of BERT-base, DistilBERT, MobileBERT and TinyBERT-4L at full size, in one interleaved run of one core.

    python -m benchmarks.literature.run [--core 0]      minutes

``imbik compare-architectures`` on the bundled bank messages, random weights. The result, benchmarks/results/literature/architectures.json,
is the file of that command, which ``imbik report --architectures`` reads, with commit, machine and command around it.
"""

from __future__ import annotations

from rich.console import Console

from benchmarks.common import parser, record, stay_on
from imbik.jobs.progress import progress_for
from imbik.literature import compare_architectures


def main() -> None:
    arguments = parser(__doc__, "threads", "core")
    options = arguments.parse_args()
    stay_on(options.core)
    record(
        "literature/architectures",
        compare_architectures(threads=options.threads, progress=progress_for(Console(stderr=True))).document(),
        options,
    )


if __name__ == "__main__":
    main()
