"""SQuAD JSON carved by article into train, dev and test files, so that no article is asked about on two sides.

    python -m benchmarks.compress.articles --data tquad/train-v0.1.json --work DIR [--rows 2000] [--longest 500]

Articles of one title stay together. The side is chosen by a hash of the title, so that it is the same for every ``--rows``: that many
questions of train at most, whole articles in the order of their hashes. ``--longest`` leaves out paragraphs of more characters, on all
sides: a smaller task, for a machine on which the whole one takes a day. The folder DIR is data for ``benchmarks.compress.run --data DIR``.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks.common import parser, write_json

SHARES = {"test": 0.1, "dev": 0.05}
"""Share of the titles of each side; the rest is train."""


def drawn(title: str) -> float:
    """Return a number in [0, 1) that depends on a title alone."""
    return int.from_bytes(hashlib.sha256(title.encode()).digest()[:6]) / 2**48


def questions(article: dict[str, Any]) -> int:
    """Return how many questions an article has."""
    return sum(len(paragraph["qas"]) for paragraph in article["paragraphs"])


def shorter(article: dict[str, Any], longest: int) -> dict[str, Any]:
    """Return an article with its paragraphs of at most ``longest`` characters."""
    return article | {"paragraphs": [part for part in article["paragraphs"] if len(part["context"]) <= longest]}


def carved(articles: list[dict[str, Any]], rows: int) -> dict[str, list[dict[str, Any]]]:
    """Return the articles of each side; of train whole titles until there are ``rows`` questions (0: all)."""
    titles = defaultdict(list)
    for article in articles:
        if questions(article):
            titles[article["title"]].append(article)
    sides: dict[str, list[dict[str, Any]]] = {"train": [], "dev": [], "test": []}
    for title in sorted(titles, key=drawn):
        place = drawn(title)
        side = "test" if place < SHARES["test"] else "dev" if place < sum(SHARES.values()) else "train"
        if side != "train" or not rows or sum(map(questions, sides["train"])) < rows:
            sides[side] += titles[title]
    return sides


def main() -> None:
    arguments = parser(__doc__, "data!", "work!", "rows")
    arguments.add_argument("--longest", type=int, default=0, help="characters of a paragraph at most (default: any)")
    options = arguments.parse_args()
    articles = json.loads(Path(options.data).read_text(encoding="utf-8"))["data"]
    if options.longest:
        articles = [shorter(article, options.longest) for article in articles]
    options.work.mkdir(parents=True, exist_ok=True)
    for side, chosen in carved(articles, options.rows).items():
        write_json(options.work / f"{side}.json", {"data": chosen})
        print(f"{side}: {len(chosen)} articles, {sum(map(questions, chosen))} questions")


if __name__ == "__main__":
    main()
