"""The queue before a model: one alone goes at once, several go together, and no wait is without end."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import numpy as np
import pytest

from imbik.errors import UserError
from imbik.serve.batcher import Batcher
from imbik.serve.metrics import Metrics
from imbik.serve.refusals import Refusal
from imbik.serve.requests import Asked
from imbik.serve.settings import Limits


class Encoding:
    def __init__(self, text: str) -> None:
        self.overflowing = [0] if len(text) > 20 else []


class Model:
    """Answers a text with its number: label ``n`` has the logit 1. Its first batch waits until it is let go."""

    task, labels, max_length = "classification", tuple(map(str, range(10))), 20

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.go = threading.Event()
        self.begun = threading.Event()
        self.error: Exception | None = None
        self.pause = 0.0

    def encode(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> list[Encoding]:
        return [Encoding(text) for text in texts]

    def scores(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> np.ndarray:
        self.batches.append([*texts, *(pairs or [])])
        self.begun.set()
        assert self.go.wait(20)
        time.sleep(self.pause * len(texts))
        if self.error:
            raise self.error
        return np.eye(10, dtype=np.float32)[[int(text) for text in texts]]


def asked(*texts: str, pairs: Sequence[str] | None = None, top: int | None = 1, whole: bool = False) -> Asked:
    return Asked(list(texts), None if pairs is None else list(pairs), True, True, top, whole)


def run(scene: Callable[[Batcher, Model], Coroutine[Any, Any, None]], limits: Limits) -> None:
    async def whole() -> None:
        model = Model()
        batcher = Batcher(model, "m", limits, Metrics())  # type: ignore[arg-type]
        try:
            await asyncio.wait_for(scene(batcher, model), 20)
        finally:
            model.go.set()
            await batcher.close()

    asyncio.run(whole())


async def begun(model: Model) -> None:
    """Wait until the first batch is being computed."""
    while not model.begun.is_set():
        await asyncio.sleep(0.001)


def said(answers: list[dict[str, Any]]) -> list[str]:
    return [one["labels"][0]["label"] for one in answers]


def test_one_alone_goes_at_once_and_those_that_wait_go_together():
    async def scene(batcher: Batcher, model: Model) -> None:
        first = asyncio.create_task(batcher.answers(asked("1"), 10))
        await begun(model)
        others = [asyncio.create_task(batcher.answers(asked(*texts), 10)) for texts in ("23", "4", "56")]
        await asyncio.sleep(0)
        model.go.set()
        assert said(await first) == ["1"]
        assert [said(await one) for one in others] == [["2", "3"], ["4"], ["5", "6"]]
        assert model.batches == [["1"], ["2", "3", "4"], ["5", "6"]]  # a fifth text would pass the limit of a batch

    run(scene, Limits(batch=4))


def test_pairs_and_single_texts_are_never_one_batch():
    async def scene(batcher: Batcher, model: Model) -> None:
        first = asyncio.create_task(batcher.answers(asked("1"), 10))
        await begun(model)
        others = [asyncio.create_task(batcher.answers(one, 10)) for one in (asked("2"), asked("3", pairs=["x"]), asked("4"))]
        await asyncio.sleep(0)
        model.go.set()
        await asyncio.gather(first, *others)
        assert model.batches == [["1"], ["2"], ["3", "x"], ["4"]]

    run(scene, Limits())


def test_a_request_larger_than_a_batch_goes_alone():
    async def scene(batcher: Batcher, model: Model) -> None:
        model.go.set()
        assert said(await batcher.answers(asked(*"1234567"), 10)) == list("1234567")

    run(scene, Limits(batch=2, queue=3))


def test_a_full_queue_refuses_and_has_room_again():
    async def scene(batcher: Batcher, model: Model) -> None:
        waiting = [asyncio.create_task(batcher.answers(asked("1"), 10)) for _ in range(3)]
        await begun(model)
        with pytest.raises(Refusal) as refused:
            await batcher.answers(asked("2"), 10)
        assert refused.value.status == 429 and int(refused.value.headers["Retry-After"]) >= 1
        model.go.set()
        await asyncio.gather(*waiting)
        assert said(await batcher.answers(asked("2"), 10)) == ["2"]

    run(scene, Limits(queue=3))


def test_a_line_that_is_too_long_in_time_refuses_and_batches_keep_within_it():
    async def scene(batcher: Batcher, model: Model) -> None:
        model.pause = 0.02  # seconds of a text
        model.go.set()
        await batcher.answers(asked("1"), 10)  # from now on it is known how long a text takes
        model.go.clear()
        model.begun.clear()
        waiting = [asyncio.create_task(batcher.answers(asked("1"), 10))]
        await begun(model)
        waiting += [asyncio.create_task(batcher.answers(asked("2"), 10)) for _ in range(4)]
        await asyncio.sleep(0)
        assert 0.1 < batcher._line() < 0.2, "five texts of 20 ms and what the machine adds"
        for _ in range(20):  # more than 200 ms
            waiting.append(asyncio.create_task(batcher.answers(asked("3"), 10)))
        model.go.set()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        refused = [one for one in results if isinstance(one, Refusal)]
        assert refused and all(one.status == 429 for one in refused) and len(refused) < 20
        assert max(map(len, model.batches)) <= 0.2 / 0.02, "no batch takes longer than a line may be"
        assert said(await batcher.answers(asked("4"), 10)) == ["4"]

    run(scene, Limits(wait_s=0.2))


def test_who_has_waited_too_long_is_told_so_and_is_never_computed():
    async def scene(batcher: Batcher, model: Model) -> None:
        first = asyncio.create_task(batcher.answers(asked("1"), 10))
        await begun(model)
        with pytest.raises(Refusal) as refused:
            await batcher.answers(asked("2"), 0.02)
        assert refused.value.status == 503
        model.go.set()
        await first
        assert said(await batcher.answers(asked("3"), 10)) == ["3"]
        assert model.batches == [["1"], ["3"]]

    run(scene, Limits(queue=2))


def test_a_client_that_leaves_frees_its_place():
    async def scene(batcher: Batcher, model: Model) -> None:
        first = asyncio.create_task(batcher.answers(asked("1"), 10))
        await begun(model)
        left = asyncio.create_task(batcher.answers(asked("2"), 10))
        await asyncio.sleep(0)
        left.cancel()
        model.go.set()
        await first
        assert said(await batcher.answers(asked("3"), 10)) == ["3"]
        assert model.batches == [["1"], ["3"]]

    run(scene, Limits())


@pytest.mark.parametrize(("error", "status"), [(RuntimeError("engine"), 500), (UserError("too deep"), 422)])
def test_a_batch_that_fails_is_told_to_all_of_it_and_the_next_goes_on(error, status):
    async def scene(batcher: Batcher, model: Model) -> None:
        model.error = error
        model.go.set()
        results = await asyncio.gather(*(batcher.answers(asked(text), 10) for text in "12"), return_exceptions=True)
        assert [one.status for one in results if isinstance(one, Refusal)] == [status, status]
        model.error = None
        assert said(await batcher.answers(asked("3"), 10)) == ["3"]

    run(scene, Limits())


def test_a_text_that_must_not_be_cut_is_refused_and_its_neighbors_are_answered():
    async def scene(batcher: Batcher, model: Model) -> None:
        model.go.set()
        long, short = batcher.answers(asked("1" * 30, whole=True), 10), batcher.answers(asked("2", whole=True), 10)
        results = await asyncio.gather(long, short, return_exceptions=True)
        assert isinstance(results[0], Refusal) and "20 tokens" in results[0].message
        assert said(results[1]) == ["2"]  # type: ignore[arg-type]

    run(scene, Limits())


def test_at_the_end_what_waits_is_answered_and_nothing_new_is_taken():
    async def scene(batcher: Batcher, model: Model) -> None:
        waiting = [asyncio.create_task(batcher.answers(asked(text), 10)) for text in "12"]
        await begun(model)
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0)
        with pytest.raises(Refusal) as refused:
            await batcher.answers(asked("3"), 10)
        assert refused.value.status == 503
        model.go.set()
        assert [said(await one) for one in waiting] == [["1"], ["2"]]
        await closing

    run(scene, Limits())


@pytest.mark.parametrize("task", ["token-classification", "question-answering", "multi-label"])
def test_every_task_answers_as_its_predictor(tmp_path, task):
    from imbik.models.checkpoint import save_checkpoint
    from imbik.runtime.predictor import load_artefact
    from imbik.tasks.registry import task_of
    from imbik.testing.task_examples import TASK_EXAMPLES
    from imbik.testing.tiny import tiny_bert

    kind, example = task_of(task), TASK_EXAMPLES[task]
    save_checkpoint(tiny_bert(example.labels, task, layers=1), tmp_path)
    predictor = load_artefact(tmp_path, threads=1)
    texts, pairs = ["bad card", "good new money " * 30], ["a late card " * 40, "money"] if kind.pairs else None
    expected = kind.answers(predictor.predict(texts, pairs), predictor.labels, texts, pairs, len(predictor.labels))

    async def scene() -> None:
        batcher = Batcher(predictor, "m", Limits(), Metrics())
        assert await batcher.answers(Asked(texts, pairs, True, False, None, whole=kind.overlap > 0), 20) == expected
        if not kind.one_row:
            with pytest.raises(Refusal, match="raw_scores"):
                await batcher.answers(Asked(texts, pairs, True, True, None, False), 20)
        await batcher.close()

    asyncio.run(scene())
