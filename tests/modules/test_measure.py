"""imbik.measure_module: artefacts of modules in processes of their own, in turns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from networks import network
from torch import nn

import imbik
from imbik.errors import UserError
from imbik.measure.module_worker import ModuleWorker
from imbik.modules.measure import BATCHES

RANDOM = np.random.default_rng(0)


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, a, b):
        return self.linear(a + b)


def test_a_worker_asks_every_row_in_batches(tmp_path):
    example = (torch.randn(2, 4), torch.randn(2, 4))
    path = imbik.export_module(Two(), example, tmp_path)["onnx"].path
    rows = {"a": RANDOM.random((10, 4), np.float32), "b": RANDOM.random((10, 4), np.float32)}
    np.savez(tmp_path / "rows.npz", **rows)
    worker = ModuleWorker(str(path), 1)
    asked = []
    worker.artefact.session.compute = lambda feed: asked.append({key: array.copy() for key, array in feed.items()}) or np.zeros((1, 3))
    assert worker.throughput(str(tmp_path / "rows.npz"), 10, 4, 0.0) | {"wall": 0, "cpu": 0} == {
        "items": 10, "wall": 0, "cpu": 0, "batch": pytest.approx(10 / 3),
    }  # fmt: skip
    assert [len(feed["a"]) for feed in asked] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate([feed["b"] for feed in asked]), rows["b"])
    asked.clear()
    found = worker.latency(str(tmp_path / "rows.npz"), 8, 4)
    np.testing.assert_array_equal(np.concatenate([feed["a"] for feed in asked])[3:], rows["a"][[8, 9, 0, 1]])
    assert len(found["ms"]) == 4


@pytest.mark.slow
def test_two_artefacts_side_by_side(tmp_path):
    model, example = network("mlp")
    small = imbik.compress_module(model, example, [{"prune": {"amount": 0.5}}])
    artefacts = {
        "whole": imbik.export_module(model, example, tmp_path / "whole")["onnx"],
        "small": imbik.export_module(small, example, tmp_path / "small", engines=["openvino"])["openvino"].path,
    }
    found = imbik.measure_module(artefacts, RANDOM.random((300, 64), np.float32), threads=1, rounds=3)
    whole, little = found.measurements
    assert (whole.name, whole.engine, little.name, little.engine) == ("whole", "onnx", "small", "openvino")
    assert whole.bytes == artefacts["whole"].bytes and little.parameters == small.parameters < whole.parameters
    for one in found.measurements:
        assert 0 < one.p50_ms <= one.p95_ms <= one.p99_ms and one.items_per_s > 0 and 1 <= one.batch <= BATCHES[-1]
        assert one.peak_rss_bytes > 10e6 and one.cold_start_s > 0 and one.cpu_s_per_1000 > 0
    assert found.environment.threads == 1


def test_what_cannot_be_measured_is_refused(tmp_path):
    model, example = network("mlp")
    path = imbik.export_module(model, example, tmp_path)["onnx"].path
    fixed = imbik.export_module(model, example, tmp_path / "fixed", batch=False)["onnx"].path
    rows = example.numpy()
    for match, artefacts, arrays in [
        ("nothing to measure", {}, rows),
        ("no such artefact", {"a": tmp_path / "nowhere"}, rows),
        ("no rows to ask", {"a": path}, (rows, rows[:0])),
        ("no rows to ask", {"a": path}, {"y": rows}),
        ("another shape", {"a": path}, rows[:, :3]),
        ("one size of batch", {"a": path, "b": fixed}, rows),
    ]:
        with pytest.raises(UserError, match=match):
            imbik.measure_module(artefacts, arrays)
