"""Clustering: k-means against scikit-learn, codebook gradients against plain loops, packed sizes, export and int8."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from safetensors import safe_open

from imbik.errors import UserError
from imbik.export.artefact import export
from imbik.export.onnx.codebooks import pack_constants
from imbik.export.onnx.graph import Graph
from imbik.methods.registry import make_method
from imbik.models.checkpoint import save_checkpoint
from imbik.models.facts import parameters
from imbik.models.layers.clustered import ClusteredEmbedding, ClusteredLinear, Lookup, expanded
from imbik.models.layers.packing import bits_for, pack, unpack
from imbik.models.pretrained import load_checkpoint
from imbik.models.structure import WEIGHTS
from imbik.recipes.recipe import load_recipe
from imbik.runtime.predictor import load_artefact
from imbik.sharing.kmeans import nearest_values
from imbik.testing.contract import check_reload, sqnr
from imbik.testing.tiny import logits_of, tiny_bert, tiny_context, tiny_splits
from imbik.types import Checkpoint

INT8 = ({"quantize": {"scheme": "dynamic"}},)
TEXTS = ["where is my card", "bad", "the new fee is not good", "please help me pay now", "", "not 7 but 8"] * 4


def _cluster(checkpoint, directory, **settings):
    return make_method({"cluster": settings}, "test").apply(checkpoint, tiny_context(tiny_bert(), tiny_splits(), directory))


def _wide(**settings):
    """Large enough that its matrices are clustered and packed."""
    return tiny_bert(hidden=96, heads=2, layers=2, **settings)


@pytest.mark.parametrize("count", [2, 16, 100])
@pytest.mark.parametrize("draw", ["standard_normal", "standard_t"])
def test_the_codebook_is_as_near_as_scikit_learn_s(count, draw):
    from sklearn.cluster import KMeans

    generator = np.random.default_rng(0)
    values = (generator.standard_t(3, 4000) if draw == "standard_t" else generator.standard_normal(4000)).astype(np.float32)
    codebook, indices = nearest_values(values, count)
    ours = float(np.square(values - codebook[indices]).sum())
    theirs = KMeans(count, n_init=3, random_state=0).fit(values[:, None].astype(np.float64)).inertia_
    assert ours <= (1.03 if count <= 16 else 1.1) * theirs, "one local optimum of many where there are many centers"
    assert np.array_equal(indices, np.abs(values[:, None] - codebook[None, :]).argmin(axis=1)), "every value has its nearest entry"


@pytest.mark.parametrize("count", [2, 3, 7, 16, 17, 64, 200, 256])
@pytest.mark.parametrize("size", [1, 2, 7, 64, 1001])
def test_packing_comes_back_in_as_many_bits_as_it_says(count, size):
    indices = np.random.default_rng(size).integers(0, count, size).astype(np.uint8)
    packed = pack(indices, bits_for(count))
    assert packed.dtype == np.uint8 and len(packed) == -(-size * bits_for(count) // 8)
    np.testing.assert_array_equal(unpack(packed, bits_for(count), (size,)), indices)


def test_the_gradient_of_an_entry_is_the_sum_of_its_members():
    generator = np.random.default_rng(0)
    indices, upstream = generator.integers(0, 5, (7, 9)), generator.standard_normal((7, 9))
    wanted = np.zeros(5)
    for row in range(7):
        for column in range(9):
            wanted[indices[row, column]] += upstream[row, column]
    codebook = torch.zeros(5, requires_grad=True)
    Lookup.apply(codebook, torch.tensor(indices, dtype=torch.uint8)).backward(torch.tensor(upstream, dtype=torch.float32))
    np.testing.assert_allclose(codebook.grad.numpy(), wanted, rtol=1e-5, atol=1e-5)


def test_a_clustered_linear_trains_as_a_loop_over_its_members_says():
    torch.manual_seed(0)
    linear = torch.nn.Linear(6, 4)
    layer = ClusteredLinear.of(linear, *nearest_values(linear.weight.detach().numpy(), 3))
    x = torch.randn(5, 6)
    layer(x).square().sum().backward()
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    dense = 2 * (x.numpy() @ weight.T + bias).T @ x.numpy()  # gradient of the whole matrix
    wanted = [dense[layer.indices.numpy() == entry].sum() for entry in range(3)]
    np.testing.assert_allclose(layer.codebook.grad.numpy(), wanted, rtol=1e-4)
    assert len(np.unique(weight)) == 3


def test_a_model_that_predicted_first_can_still_be_trained(tmp_path):
    made = _cluster(_wide(), tmp_path, values=16)
    logits_of(made, tiny_splits().test)  # in inference mode
    made.model(**made.tokenizer(["the new fee"], return_tensors="pt")).logits.sum().backward()
    assert made.model.bert.embeddings.word_embeddings.codebook.grad is not None


def test_as_many_values_as_there_are_is_the_identity(tmp_path):
    before = _wide()
    for module in before.model.modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Embedding):
            module.weight.data = (module.weight.data * 20).round().clamp(-8, 7) / 20
    logits = logits_of(before, tiny_splits().test)
    np.testing.assert_array_equal(logits_of(_cluster(before, tmp_path, values=16), tiny_splits().test), logits)


@pytest.mark.parametrize("values", [4, 16, 50, 256])
def test_more_values_are_nearer_and_the_folder_reloads(values, tmp_path):
    plain = _wide()
    weight = plain.model.bert.encoder.layer[0].intermediate.dense.weight.detach().numpy().copy()
    made = _cluster(plain, tmp_path, values=values)
    layer = made.model.bert.encoder.layer[0].intermediate.dense
    assert isinstance(layer, ClusteredLinear) and isinstance(made.model.bert.embeddings.word_embeddings, ClusteredEmbedding)
    floor = {4: 8, 16: 19, 50: 28, 256: 40}[values]
    assert sqnr(weight, layer.weight.detach().numpy()) > floor
    check_reload(made, tmp_path / "saved", tiny_splits().test)


def test_the_folder_holds_packed_indices(tmp_path):
    plain = _wide()
    entries = sum(m.weight.numel() for m in plain.model.modules() if isinstance(m, torch.nn.Linear | torch.nn.Embedding))
    made = _cluster(plain, tmp_path, values=16)
    save_checkpoint(made, tmp_path / "model")
    with safe_open(tmp_path / "model" / WEIGHTS, framework="pt") as file:
        packed = sum(file.get_tensor(name).numel() for name in file.keys() if name.endswith("packed"))  # noqa: SIM118
    small = sum(m.weight.numel() for m in made.model.modules() if isinstance(m, torch.nn.Linear | torch.nn.Embedding))
    assert packed == (entries - small) // 2, "four bits an entry"
    assert (tmp_path / "model" / WEIGHTS).stat().st_size < packed + 4 * small + 30_000


def test_training_moves_the_codebook_and_keeps_the_sharing(tmp_path):
    made = _cluster(_wide(), tmp_path / "a", values=16)
    before = made.model.bert.encoder.layer[1].output.dense.codebook.detach().clone()
    packed = made.model.bert.encoder.layer[1].output.dense.packed.clone()
    trained = make_method({"distill": {"epochs": 2}}, "test").apply(made, tiny_context(_wide(seed=3), tiny_splits(), tmp_path / "b"))
    layer = trained.model.bert.encoder.layer[1].output.dense
    assert not torch.equal(layer.codebook, before) and torch.equal(layer.packed, packed)
    assert len(layer.weight.unique()) <= 16
    check_reload(trained, tmp_path / "saved", tiny_splits().test)


def test_tied_weights_count_as_weights(tmp_path):
    plain = _wide()
    count = parameters(plain.model)
    assert parameters(_cluster(plain, tmp_path, values=16).model) == count


@pytest.mark.parametrize("steps", [(), INT8], ids=["float", "int8"])
@pytest.mark.parametrize("values", [16, 256])
def test_the_artefact_is_packed_and_computes_the_same(steps, values, tmp_path):
    plain = _wide()
    made = _cluster(Checkpoint(_wide().model, plain.tokenizer, plain.task), tmp_path, values=values)
    twin = replace(made, model=expanded(made.model), steps=steps)
    graphs = []
    for name, checkpoint in (("a", replace(made, steps=steps)), ("b", replace(plain, steps=steps))):
        graphs.append(export(checkpoint, "onnx", tmp_path / name, texts=TEXTS))
    packed, unpacked = graphs
    ratio = packed.files["model.onnx"] / unpacked.files["model.onnx"]
    assert ratio < {(16, 0): 0.25, (256, 0): 0.45, (16, 1): 0.75, (256, 1): 1.1}[values, len(steps)]
    assert packed.parity["float_matmuls"] == (0 if steps else packed.parity["float_matmuls"])
    found = load_artefact(packed.path, threads=1).scores(TEXTS)
    batch = twin.tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt")
    with torch.no_grad():
        wanted = twin.model(**batch).logits.numpy()
    assert sqnr(wanted, found) > (20 if steps else 80)


def test_what_is_packed_comes_back_bit_for_bit():
    import onnxruntime as ort
    from onnx import TensorProto, helper, numpy_helper

    generator = np.random.default_rng(0)
    wide = np.concatenate([generator.choice(generator.standard_normal(16), (81, 33)) for _ in range(3)], axis=1).astype(np.float32)
    table = generator.choice(generator.standard_normal(200), (90, 99)).astype(np.float32)
    free = generator.standard_normal((99, 50)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("MatMul", ["x", "wide"], ["hidden"]),
        helper.make_node("Add", ["hidden", "rows"], ["sum"]),
        helper.make_node("MatMul", ["sum", "free"], ["y"]),
    ]
    inputs = [
        helper.make_tensor_value_info("ids", TensorProto.INT64, ["n"]),
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 81]),
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 50])]
    constants = [numpy_helper.from_array(value, name) for name, value in (("wide", wide), ("table", table), ("free", free))]
    model = helper.make_model(
        helper.make_graph(nodes, "test", inputs, outputs, constants), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    feed = {"ids": np.array([3, 89, 0]), "x": generator.standard_normal((3, 81)).astype(np.float32)}

    def run(proto):
        return ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, feed)[0]

    wanted, size = run(model), model.ByteSize()
    graph = Graph(onnx.load_from_string(model.SerializeToString()))
    record = pack_constants(graph)
    packed = graph.finish()
    assert record["packed"] == 2 and packed.ByteSize() < size - 0.7 * (wide.nbytes + table.nbytes)
    np.testing.assert_array_equal(run(packed), wanted)


def test_a_model_of_small_matrices_is_refused(tmp_path):
    with pytest.raises(UserError, match="nothing to cluster"):
        _cluster(tiny_bert(hidden=16, layers=1), tmp_path, embeddings=False)


def test_an_expanded_model_is_a_plain_one(tmp_path):
    made = _cluster(_wide(), tmp_path, values=16)
    plain = expanded(made.model)
    assert not any(isinstance(m, ClusteredLinear | ClusteredEmbedding) for m in plain.modules())
    np.testing.assert_array_equal(logits_of(replace(made, model=plain), tiny_splits().test), logits_of(made, tiny_splits().test))
    assert expanded(plain) is plain and isinstance(made.model.classifier, torch.nn.Linear)
    save_checkpoint(made, tmp_path / "m")
    assert load_checkpoint(tmp_path / "m").model.config.imbik_structure


def test_clustering_twice_is_refused_with_what_to_do():
    with pytest.raises(UserError, match=r"cluster after cluster.*cluster once, with the number of values"):
        load_recipe("cluster-16+cluster-16")
