"""PyTorch beyond the float32 baseline: half precision on a GPU. Most machines of the tests have none: the session is proved on the
processor, what a device offers with imitated answers of torch.cuda, the refusal for real; ``-m gpu`` runs the rest on a device.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import plausible
import pytest
import torch

from imbik.advise.advice import advise
from imbik.advise.choice import choose, pareto
from imbik.advise.scenario import load_scenario, shipped_scenarios
from imbik.cli.app import main
from imbik.compress.measuring import BASELINE
from imbik.compress.run import compress
from imbik.errors import UserError
from imbik.export.artefact import export
from imbik.jobs.progress import Silent
from imbik.locale.phrases import Phrases
from imbik.measure.measurement import Latency, Quality, Throughput
from imbik.measure.process import Candidate
from imbik.measure.quantities import read
from imbik.measure.results import load_results
from imbik.measure.run import measure, notes_of
from imbik.measure.worker import Worker
from imbik.models.checkpoint import save_checkpoint
from imbik.models.pretrained import load_checkpoint
from imbik.report.render import write_report
from imbik.roi.cost import Load, roi
from imbik.roi.prices import load_prices
from imbik.runtime.engines import pytorch
from imbik.runtime.engines.pytorch import CUDA, TorchSession, cuda_dtype
from imbik.runtime.predictor import load_artefact
from imbik.testing.tiny import tiny_bert, tiny_splits
from imbik.types import Note

SPLITS = tiny_splits()
NAMES = ("input_ids", "attention_mask", "token_type_ids")
no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cuda") / "teacher"
    save_checkpoint(tiny_bert(layers=2), folder)
    return folder


def _batch() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    ids = np.random.default_rng(0).integers(5, 60, (64, 12))
    mask = (np.arange(12) < np.arange(64)[:, None] % 11 + 2).astype(np.int64)
    return ids, mask, np.zeros_like(ids)


def test_the_baseline_is_the_model_as_it_is() -> None:
    model = tiny_bert(layers=2).model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    session, (ids, mask, types) = TorchSession(model, NAMES), _batch()
    assert session.model is model and session.device.type == "cpu"
    with torch.inference_mode():
        plain = model(**{name: torch.from_numpy(value) for name, value in zip(NAMES, (ids, mask, types), strict=True)}).logits.numpy()
    np.testing.assert_array_equal(session.run(ids, mask, types), plain)
    for name, value in model.state_dict().items():
        assert value.dtype == before[name].dtype and torch.equal(value, before[name])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_gives_the_labels_of_float32(dtype: torch.dtype) -> None:
    expected = TorchSession(tiny_bert(layers=2).model, NAMES).run(*_batch())
    session = TorchSession(tiny_bert(layers=2).model, NAMES, "cpu", dtype)
    found = session.run(*_batch())
    assert {value.dtype for value in session.model.parameters()} == {dtype}
    assert found.dtype == np.float32 and found.shape == expected.shape
    assert 0 < np.abs(found - expected).max() < 0.05 * np.abs(expected).max()
    assert (found.argmax(1) == expected.argmax(1)).all()


@pytest.mark.parametrize(("available", "native", "expected"),
                         [(False, True, None), (True, True, torch.bfloat16), (True, False, torch.float16)])  # fmt: skip
def test_what_a_machine_offers(available: bool, native: bool, expected: torch.dtype | None, monkeypatch: pytest.MonkeyPatch) -> None:
    def supported(including_emulation: bool = True) -> bool:
        return native or including_emulation  # every device imitates bfloat16, slowly

    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert cuda_dtype() is expected


@no_gpu
def test_without_a_gpu_it_is_one_message(teacher: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["imbik", "predict", str(teacher), "a card", "--engine", CUDA])
    with pytest.raises(SystemExit) as left:
        main()
    said = capsys.readouterr()
    assert left.value.code == 2 and said.out == ""
    assert said.err.count("error: ") == 1 and "Traceback" not in said.err
    assert "no CUDA device" in said.err and "CUDA build of PyTorch" in said.err


@pytest.mark.parametrize("name", [CUDA, "pytorch", "openvino"])
def test_a_folder_is_run_by_its_own_engine(name: str, teacher: Path, tmp_path: Path) -> None:
    artefact = export(tiny_bert(layers=1), "onnx", tmp_path / "onnx")
    with pytest.raises(UserError, match=rf"not for this engine\. Found: {name}\. Expected: onnx"):
        load_artefact(artefact.path, engine_name=name)
    with pytest.raises(UserError, match=r"not for this engine\. Found: onnx\. Expected: pytorch or pytorch-cuda"):
        load_artefact(teacher, engine_name="onnx")
    assert load_artefact(artefact.path, engine_name="onnx").engine == "onnx"
    assert load_artefact(teacher, engine_name="pytorch").engine == load_artefact(teacher).engine == "pytorch"


class _OnTheProcessor(TorchSession):
    """Takes the processor for the device that it is told."""

    def __init__(
        self, model: object, names: tuple[str, ...], device: str | None = None, dtype: torch.dtype | None = None, **more: str
    ) -> None:
        super().__init__(model, names, "cpu" if device == "cuda" else device, dtype, **more)


def test_what_is_recorded_of_a_gpu(teacher: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pytorch, "cuda_dtype", lambda: torch.bfloat16)
    monkeypatch.setattr(pytorch, "TorchSession", _OnTheProcessor)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "An Imitated GPU")
    worker = Worker(str(teacher), 1, None, CUDA)
    expected = load_artefact(teacher, threads=1).scores(SPLITS.test.texts)
    assert (worker.predictor.scores(SPLITS.test.texts).argmax(1) == expected.argmax(1)).all()
    manifest = worker.facts()["manifest"]
    assert (manifest["engine"], manifest["device"], manifest["precision"]) == (CUDA, "An Imitated GPU", "bf16")
    assert manifest["params"] > 0 and len(manifest["flops"]) == 3
    (note,) = notes_of(manifest)
    assert note == Note.of("cuda", device="An Imitated GPU", precision="bf16")
    assert "never chosen" in Phrases("en").note(note) and "hiçbir zaman seçilmez" in Phrases("tr").note(note)


@no_gpu
def test_a_gpu_that_fails_leaves_the_others(teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "imbik.runtime.engines.pytorch.cuda_dtype", lambda: torch.bfloat16
    )  # here alone; the candidate's own process asks again
    options = {"recipes": ("int8",), "progress": Silent(), "say": lambda line: None}
    results = compress(load_checkpoint(teacher), SPLITS, tmp_path / "out", source=str(teacher), **options)  # type: ignore[arg-type]
    assert [m.id for m in results.measurements] == [BASELINE, "teacher/onnx", "int8/onnx"]
    (failure,) = load_results(tmp_path / "out" / "results.json").failures
    assert failure["id"] == f"teacher/{CUDA}" and "no CUDA device" in failure["error"]


def _with_gpu() -> tuple[plausible.Results, plausible.Results]:
    """A run, and the same with the teacher on a GPU, better in every number than all others."""
    run = plausible.results()
    best = Quality(0.999, 0.998, 1.0, metric="accuracy", split="test", n=3080)
    note = Note.of("cuda", device="An Imitated GPU", precision="bf16")
    gpu = replace(run.measurements[0], id=f"teacher/{CUDA}", engine=CUDA, bytes=1000, quality=best, dev_quality=best, notes=(note,),
                  latency_ms=Latency(0.01, 0.01, 0.01), throughput=Throughput(1e6))  # fmt: skip
    return run, replace(run, measurements=(run.measurements[0], gpu, *run.measurements[1:]))


def test_it_is_shown_and_never_chosen(tmp_path: Path) -> None:
    run, more = _with_gpu()
    assert choose(more.measurements, more.baseline) == choose(run.measurements, run.baseline)
    assert choose(more.measurements[:2], more.baseline).id is None
    assert pareto(more.measurements) == pareto(run.measurements)
    for name in shipped_scenarios():
        assert advise(more, load_scenario(name)) == advise(run, load_scenario(name))
    costs = {cost.id: cost for cost in roi(more, load_prices(None), Load(per_day=1e5))}
    assert costs.pop(f"teacher/{CUDA}").instance is None and all(cost.instance for cost in costs.values())
    assert read("standalone", more.measurements[1], None).value == 0.0
    for suffix, lang, words in (("html", "en", "shown, never chosen"), ("md", "tr", "hiçbir zaman seçilmez")):
        write_report(more, tmp_path / f"r.{suffix}", lang=lang)
        text = (tmp_path / f"r.{suffix}").read_text("utf-8")
        assert CUDA in text and words in text


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu(teacher: Path) -> None:
    candidates = [Candidate(BASELINE, "teacher", "pytorch", teacher), Candidate(f"teacher/{CUDA}", "teacher", CUDA, teacher)]
    measured = measure(candidates, SPLITS, baseline=BASELINE, threads=1, rounds=1)
    assert measured.failures == () and [m.engine for m in measured.measurements] == ["pytorch", CUDA]
    assert measured.measurements[1].agreement == 1.0 and measured.measurements[1].notes[0].kind == "cuda"
