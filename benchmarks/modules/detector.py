"""A detector of cars and trucks, its student alone and distilled, int8: mAP@50 over three seeds (examples/detector.py --full).

    python -m benchmarks.modules.detector --images FOLDER

FOLDER holds CIFAR-10's train.parquet and test.parquet.
"""

from __future__ import annotations

import runpy
from pathlib import Path

from benchmarks.common import ROOT, parser, record


def main() -> None:
    """Run the example's fuller setting and record what it gives."""
    options = parser(__doc__)
    options.add_argument("--images", type=Path, required=True, help="folder with CIFAR-10's train.parquet and test.parquet")
    given = options.parse_args()
    example = runpy.run_path(str(ROOT / "examples" / "detector.py"))
    record("modules/detector", example["main"](example["FULL"], given.images), given)


if __name__ == "__main__":
    main()
