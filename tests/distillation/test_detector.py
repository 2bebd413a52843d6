"""examples/detector.py: mAP by hand and by pycocotools, targets and answers that agree, and the whole way in small."""

from __future__ import annotations

import contextlib
import io
import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

EXAMPLE = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "detector.py"))
overlap, average_precision = EXAMPLE["overlap"], EXAMPLE["average_precision"]


def boxes(*rows):
    return np.array(rows, np.float32).reshape(-1, 4)


def test_overlap_is_of_areas():
    found = overlap(boxes([0, 0, 4, 4]), boxes([0, 0, 4, 4], [2, 0, 6, 4], [4, 4, 8, 8], [1, 1, 3, 3]))
    np.testing.assert_allclose(found, [[1, 8 / 24, 0, 4 / 16]], rtol=1e-6)


HERE, THERE, NOWHERE = [0, 0, 10, 10], [20, 20, 30, 30], [50, 50, 60, 60]


@pytest.mark.parametrize(
    ("found", "scores", "expected"),
    [
        ([HERE, THERE], [0.9, 0.8], 1.0),
        # right, wrong, right: precision 1 to a recall of 1/2 (51 of 101 recalls), 2/3 beyond
        ([HERE, NOWHERE, THERE], [0.9, 0.8, 0.7], (51 + 50 * 2 / 3) / 101),
        # wrong, right, right: precision 1/2 and 2/3, of which the later holds for all recalls
        ([NOWHERE, HERE, THERE], [0.9, 0.8, 0.7], 2 / 3),
        # a box twice: the second is wrong
        ([HERE, HERE], [0.9, 0.8], 51 / 101),
        # 10 x 5 of 10 x 10 is exactly half
        ([[0, 0, 10, 5]], [0.9], 51 / 101),
        ([[0, 0, 10, 4.9]], [0.9], 0.0),
        ([], [], 0.0),
    ],
)
def test_average_precision_by_hand(found, scores, expected):
    value = average_precision([(boxes(*found), np.array(scores, np.float32))], [boxes(HERE, THERE)])
    assert value == pytest.approx(expected, abs=1e-6)


def test_detections_of_all_images_are_sorted_together_and_a_class_without_objects_has_no_value():
    # the surest box of all is wrong, in an image without objects
    found = [(boxes(HERE), np.array([0.5], np.float32)), (boxes(HERE), np.array([0.9], np.float32))]
    assert average_precision(found, [boxes(HERE), boxes()]) == pytest.approx(0.5)
    assert np.isnan(average_precision([(boxes(HERE), np.array([0.5], np.float32))], [boxes()]))


def test_pycocotools_gives_the_same():
    coco = pytest.importorskip("pycocotools.coco")
    from pycocotools.cocoeval import COCOeval

    draw = np.random.default_rng(0)
    true = [np.concatenate([at := draw.uniform(0, 40, (k, 2)), at + draw.uniform(8, 24, (k, 2))], 1) for k in draw.integers(0, 4, 30)]
    found = [(one := np.repeat(t, 2, 0) + draw.normal(0, 2, (2 * len(t), 4)), draw.uniform(size=len(one)).astype(np.float32)) for t in true]

    def sides(box):
        return [*map(float, box[:2]), *map(float, box[2:] - box[:2])]

    marks = [(image, box) for image, rows in enumerate(true) for box in rows]
    document = {
        "images": [{"id": image} for image in range(len(true))],
        "categories": [{"id": 1}],
        "annotations": [
            {"id": n + 1, "image_id": image, "category_id": 1, "bbox": sides(box), "area": 1.0, "iscrowd": 0}
            for n, (image, box) in enumerate(marks)
        ],
    }
    answers = [
        {"image_id": image, "category_id": 1, "bbox": sides(box), "score": float(score)}
        for image, (rows, scores) in enumerate(found)
        for box, score in zip(rows, scores, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        reference = coco.COCO()
        reference.dataset = document
        reference.createIndex()
        judged = COCOeval(reference, reference.loadRes(answers), "bbox")
        judged.evaluate()
        judged.accumulate()
    at_half = judged.eval["precision"][0, :, 0, 0, -1]
    assert average_precision(found, true) == pytest.approx(at_half.mean(), abs=1e-6)


def test_what_the_labels_say_is_found_again():
    scenes = EXAMPLE["compose"](20, 0)
    wanted = EXAMPLE["targets"](scenes)
    logits = torch.nn.functional.one_hot(wanted[:, 0].long(), 3).movedim(-1, 1) * 20.0
    assert EXAMPLE["mean_average_precision"](lambda _: torch.cat([logits, wanted[:, 1:]], 1).numpy(), scenes) > 0.99
    assert float(EXAMPLE["label_loss"](torch.cat([logits, wanted[:, 1:]], 1), (None, wanted))) < 1e-3
    moved = torch.cat([logits, wanted[:, 1:] + 1], 1)
    assert float(EXAMPLE["label_loss"](moved, (None, wanted))) > 0.3


def test_boxes_of_one_class_that_overlap_are_one_answer():
    output = np.full((1, 7, 8, 8), -9.0, np.float32)
    output[0, 2], output[0, 3:] = 9.0, 1.5
    output[0, :3, 4, 4] = [9, -9, -9]
    output[0, :3, 4, 5] = [9, 0, -9]
    output[0, :3, 4, 6] = [-9, 9, -9]
    ((found, scores, classes),) = EXAMPLE["detections"](output)
    assert classes.tolist() == [0, 0, 1] or classes.tolist() == [0, 1]
    assert (np.diff(scores) <= 0).all() and len(found) == len(scores)


@pytest.mark.slow
def test_the_example_in_small():
    found = EXAMPLE["main"](EXAMPLE["Setting"]())
    values = {name: one[0] for name, one in found.items()}
    assert values["teacher"] > 0.6 and values["distilled"] > 0.4, "drawn shapes, after seconds"
    assert abs(values["int8"] - values["distilled"]) < 0.05 and values["int8_bytes"] < 0.6 * values["distilled_bytes"]


def test_it_learns_and_becomes_int8(tmp_path):
    setting = EXAMPLE["Setting"](train=60, test=10, epochs=2, width=4)
    values = EXAMPLE["run"](setting, 0, None, tmp_path)
    assert set(values) == {"teacher", "alone", "distilled", "int8", "distilled_bytes", "int8_bytes"}
    assert all(0 <= values[name] <= 1 for name in ("teacher", "alone", "distilled", "int8"))
    manifest = json.loads((tmp_path / "int8" / "onnx" / "manifest.json").read_text("utf-8"))
    assert manifest["graph"]["int8_ops"] == 7 and manifest["graph"]["float_ops"] == 0


def test_the_page_distils_a_yolo_checkpoint():
    pytest.importorskip("ultralytics")
    page = (Path(__file__).parents[2] / "docs" / "any_module.md").read_text(encoding="utf-8")
    (code,) = (block.split("```")[0] for block in page.split("```python\n") if "ultralytics" in block.split("```")[0])
    # the same networks from random weights: nothing is downloaded
    code = code.replace("m.pt", "m.yaml").replace("n.pt", "n.yaml").replace("epochs=10", "epochs=1")
    exec(compile(code, "any_module.md", "exec"), {"batches": [torch.rand(1, 3, 64, 64)]})
