"""imbik.export_module: artefacts of any module answer as the module does, or are not there."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from networks import NAMES, network
from torch import nn

import imbik
from imbik.errors import UserError
from imbik.export.parity import ParityError
from imbik.modules.export import artefact as exporting
from imbik.modules.export.cells import PlainGRUCell, PlainLSTMCell

EXPORTS = [
    *(pytest.param(name, engine, id=f"{name}-{engine}") for name in NAMES for engine in ("onnx", "openvino")),
    *(pytest.param(name, "executorch", id=f"{name}-executorch", marks=pytest.mark.slow) for name in NAMES),
]


@pytest.mark.parametrize(("name", "engine"), EXPORTS)
def test_an_artefact_answers_as_the_module_does(name, engine, tmp_path):
    model, example = network(name)
    made = imbik.export_module(model, example, tmp_path, engines=[engine])[engine]
    assert made.path == tmp_path / engine and made.bytes == sum(file.stat().st_size for file in made.path.rglob("*") if file.is_file())
    rows = torch.cat([example, example.flip(0), example])
    artefact = imbik.load_module(made.path)
    with torch.no_grad():
        np.testing.assert_allclose(artefact(rows.numpy()), model(rows).numpy(), atol=2e-5, rtol=1e-4)
    assert made.parity["max_abs_relative"] < 1e-4 and made.parity["rows"] == 8


@pytest.mark.parametrize("name", ["cnn", "lstm", "vit"])
def test_what_was_compressed_is_exported_with_its_steps(name, tmp_path):
    model, example = network(name)
    whole = imbik.export_module(model, example, tmp_path / "whole")["onnx"]
    steps = [{"prune": {"amount": 0.3}}, {"low_rank": {"share": 0.6}}, "cluster"]
    small = imbik.compress_module(model, example, steps)
    made = imbik.export_module(small, example, tmp_path / "small", engines=["onnx", "openvino"])
    assert made["onnx"].bytes < 0.65 * whole.bytes
    manifest = json.loads((made["openvino"].path / "manifest.json").read_text())
    assert [list(step) for step in manifest["steps"]] == [["prune"], ["low_rank"], ["cluster"]]
    assert manifest["steps"][0]["prune"]["amount"] == 0.3 and manifest["parameters"] == small.parameters


def test_a_shared_weight_is_stored_once(tmp_path):
    model, example = network("vit")
    whole = imbik.export_module(model, example, tmp_path / "whole")["onnx"]
    shared = imbik.compress_module(model, example, ["share"])
    saved = shared.steps[0].parameters[0] - shared.parameters
    assert whole.bytes - imbik.export_module(shared, example, tmp_path / "shared")["onnx"].bytes > 3.5 * saved


class Steps(nn.Module):
    """Two cells in a row, with states that come in and go out, as models of speech have them."""

    def __init__(self):
        super().__init__()
        self.one, self.other = nn.LSTMCell(6, 5), nn.GRUCell(5, 4)

    def forward(self, x, hidden, memory):
        hidden, memory = self.one(x, (hidden, memory))
        return self.other(hidden), hidden, memory


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_cells_are_exported_for_any_number_of_rows(engine, tmp_path):
    torch.manual_seed(0)
    model = Steps()
    given = [torch.randn(7, width) for width in (6, 5, 5)]
    made = imbik.export_module(model, tuple(tensor[:2] for tensor in given), tmp_path, engines=[engine])[engine]
    answers = imbik.load_module(made.path)(*(tensor.numpy() for tensor in given))
    with torch.no_grad():
        for found, expected in zip(answers.values() if isinstance(answers, dict) else answers, model(*given), strict=True):
            np.testing.assert_allclose(found, expected.numpy(), atol=2e-6)


@pytest.mark.parametrize("batched", [True, False])
def test_a_plain_cell_is_pytorchs(batched):
    shape = (3,) if batched else ()
    for kind, plain, states in ((nn.LSTMCell, PlainLSTMCell, 2), (nn.GRUCell, PlainGRUCell, 1)):
        for bias in (True, False):
            cell = kind(6, 5, bias=bias)
            x, state = torch.randn(*shape, 6), tuple(torch.randn(*shape, 5) for _ in range(states))
            given = state if states == 2 else state[0]
            for arguments in ((x,), (x, given)):
                torch.testing.assert_close(plain(cell)(*arguments), cell(*arguments))


class Several(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, x, mask, scale=2.0):
        y = self.linear(x) * scale
        return {"scores": y, "rest": (y.argmax(-1), mask & (y > 0))}


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_several_inputs_and_outputs_by_name(engine, tmp_path):
    torch.manual_seed(0)
    model = Several()
    example = {"mask": torch.rand(3, 3) > 0.5, "x": torch.randn(3, 4)}
    imbik.export_module(model, example, tmp_path, engines=[engine])
    artefact = imbik.load_module(tmp_path / engine)
    assert [port.name for port in artefact.inputs] == ["x", "mask"] and artefact.inputs[0].shape == (None, 4)
    found = artefact(mask=example["mask"].numpy(), x=example["x"].numpy())
    expected = model(**example)
    np.testing.assert_allclose(found["scores"], expected["scores"].detach().numpy(), rtol=1e-5)
    assert found["rest.0"].dtype == np.int64 and (found["rest.0"] == expected["rest"][0].numpy()).all()
    assert found["rest.1"].dtype == bool and (found["rest.1"] == expected["rest"][1].numpy()).all()


def test_an_artefact_answers_without_pytorch(tmp_path):
    model, example = network("cnn")
    imbik.export_module(model, example, tmp_path, engines=["onnx", "openvino"])
    np.save(tmp_path / "x.npy", example.numpy())
    code = f"""
import sys, numpy, imbik
for engine in ("onnx", "openvino"):
    print(imbik.load_module({str(tmp_path)!r} + "/" + engine)(numpy.load({str(tmp_path / "x.npy")!r})).shape)
print([name for name in ("torch", "onnx", "transformers") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.split("\n")[:3] == ["(2, 10)", "(2, 10)", "[]"], done.stderr


class Fixed(nn.Module):
    """A number of rows stands in the code."""

    def forward(self, x):
        return x + torch.arange(2.0).reshape(2, 1)


def test_one_size_of_batch(tmp_path):
    x = torch.randn(2, 4)
    with pytest.raises(UserError, match="row by row") as error:
        imbik.export_module(Fixed(), x, tmp_path / "any")
    assert "batch=False" in str(error.value)
    assert not (tmp_path / "any" / "onnx").exists()
    imbik.export_module(Fixed(), x, tmp_path / "fixed", batch=False)
    artefact = imbik.load_module(tmp_path / "fixed" / "onnx")
    np.testing.assert_allclose(artefact(x.numpy()), Fixed()(x).numpy())
    with pytest.raises(UserError, match="another shape"):
        artefact(np.zeros((3, 4), np.float32))


class Unfit(nn.Module):
    def forward(self, x):
        return torch.linalg.svdvals(x)


def test_what_cannot_be_is_refused(tmp_path):
    model, example = network("mlp")

    def refused(match, given=model, x=example, **more):
        with pytest.raises(UserError, match=match):
            imbik.export_module(given, x, tmp_path / "out", **more)
        assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())

    refused("no engine for modules has this name", engines=["onxx"])
    refused("no engine is named", engines=[])
    refused("cannot be exported to ONNX", Unfit(), torch.randn(3, 4, 4))
    refused("they are no batch", nn.Flatten(0), torch.randn(2, 3))
    (tmp_path / "theirs" / "onnx").mkdir(parents=True)
    (tmp_path / "theirs" / "onnx" / "thesis.txt").write_text("years")
    with pytest.raises(UserError):
        imbik.export_module(model, example, tmp_path / "theirs")
    assert (tmp_path / "theirs" / "onnx" / "thesis.txt").read_text() == "years"


def test_what_is_asked_and_what_was_damaged(tmp_path):
    model, example = network("mlp")
    path = imbik.export_module(model, example, tmp_path)["onnx"].path
    imbik.export_module(model, example, tmp_path)  # an artefact of ours is replaced
    artefact = imbik.load_module(path)
    for match, arrays, named in [
        ("other inputs", (), {}),
        ("other inputs", (example.numpy(), example.numpy()), {}),
        ("other inputs", (), {"y": example.numpy()}),
        ("another shape", (np.zeros((2, 63), np.float32),), {}),
        ("another kind", (np.zeros((2, 64), np.complex64),), {}),
    ]:
        with pytest.raises(UserError, match=match):
            artefact(*arrays, **named)
    assert artefact(np.zeros((2, 64))).dtype == np.float32  # float64 is narrowed
    with pytest.raises(UserError, match="task"):
        imbik.load_artefact(path)
    manifest = json.loads((path / "manifest.json").read_text())
    for field, value in [("inputs", []), ("outputs", [{"name": "x"}]), ("batch", 1), ("engine", "numpy"), ("model", None), ("schema", 9)]:
        (path / "manifest.json").write_text(json.dumps(manifest | {field: value}))
        with pytest.raises(UserError, match=field):
            imbik.load_module(path)
    for side in ("inputs", "outputs"):
        ports = [{**manifest[side][0], "name": "other"}, *manifest[side]][: 1 if side == "inputs" else 2]
        (path / "manifest.json").write_text(json.dumps(manifest | {side: ports}))
        with pytest.raises(UserError, match="of another model"):
            imbik.load_module(path)(example.numpy())
    (path / "manifest.json").write_text(json.dumps(manifest))
    (path / "model.onnx").write_bytes((path / "model.onnx").read_bytes()[:-10])
    with pytest.raises(UserError, match="cut short"):
        imbik.load_module(path)
    with pytest.raises(UserError, match="no such artefact"):
        imbik.load_module(tmp_path / "nowhere")


def test_an_artefact_that_answers_otherwise_is_never_there(tmp_path, monkeypatch):
    model, example = network("mlp")
    write = exporting._WRITERS["onnx"].write

    def wrong(flat, batch, directory):
        flat.inner[0].bias += 0.1
        written = write(flat, batch, directory)
        flat.inner[0].bias -= 0.1
        return written

    monkeypatch.setattr(exporting, "_WRITERS", {"onnx": exporting._Writer(wrong)})
    with pytest.raises(ParityError, match="answers otherwise"):
        imbik.export_module(model, example, tmp_path)
    assert not (tmp_path / "onnx").exists()


def test_a_kernel_of_few_values_is_packed(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(32, 64, 3))
    small = imbik.compress_module(model, torch.randn(1, 32, 8, 8), ["cluster"])
    made = imbik.export_module(small, torch.randn(1, 32, 8, 8), tmp_path)["onnx"]
    assert made.bytes < 64 * 32 * 9 * 0.5 + 6000 and made.parity["max_abs_relative"] < 1e-5
