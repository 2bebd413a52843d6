"""SQuAD JSON as retrieval: which paragraph answers a question? Queries, documents and judgments for ``benchmarks.compress.run``.

    python -m benchmarks.compress.passages --data xquad.en.json --work DIR

Each different paragraph is a document, each question a query that its paragraph answers. Sides are drawn by article as in
``benchmarks.compress.articles``, but larger: half of the titles are asked about in train, a sixth in dev, the rest in test; whatever the
side, all paragraphs are searched.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.common import parser
from benchmarks.compress.articles import drawn

SHARES = {"train": 1 / 2, "dev": 1 / 2 + 1 / 6, "test": 1.0}
"""Side -> the hash of a title below which its questions are of that side, if of no earlier one."""


def asked(articles: list[dict[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """Yield title, paragraph and question."""
    for article in articles:
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                yield article["title"], paragraph["context"], question["question"]


def main() -> None:
    options = parser(__doc__, "data!", "work!").parse_args()
    (options.work / "qrels").mkdir(parents=True, exist_ok=True)
    rows = list(asked(json.loads(Path(options.data).read_text(encoding="utf-8"))["data"]))
    documents = {text: f"p{number}" for number, text in enumerate(dict.fromkeys(paragraph for _, paragraph, _ in rows))}
    queries = {text: f"q{number}" for number, text in enumerate(dict.fromkeys(question for *_, question in rows))}
    for name, texts in (("corpus", documents), ("queries", queries)):
        lines = [json.dumps({"_id": key, "text": text}, ensure_ascii=False) for text, key in texts.items()]
        (options.work / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    sides: dict[str, dict[str, None]] = {name: {} for name in SHARES}
    for title, paragraph, question in rows:
        side = next(name for name, below in SHARES.items() if drawn(title) < below)
        sides[side][f"{queries[question]}\t{documents[paragraph]}\t1"] = None
    for name, judged in sides.items():
        (options.work / "qrels" / f"{name}.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *judged]) + "\n", encoding="utf-8")
        print(f"{name}: {len(judged)} judgments")


if __name__ == "__main__":
    main()
