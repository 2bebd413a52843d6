"""A model's folder: nothing foreign in it is lost, nothing damaged in it gets far, and old ones still load."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from imbik.errors import UserError
from imbik.recommend.data.ratings import Ratings
from imbik.recommend.models.knn import ItemKNN
from imbik.recommend.models.model import MODELS
from imbik.recommend.models.registry import build, load

STRANGERS = {
    "model.json": '{"format": "layers-model", "generatedBy": "keras", "modelTopology": {}}',
    "model.tmp": "mine",
    "arrays.safetensors": "mine",
    "arrays.tmp": "mine",
    "notes.txt": "mine",
    "manifest.json": "{}",
}


@pytest.mark.parametrize("seed", range(40))
def test_a_save_into_any_folder_keeps_every_file_of_others(seed: int, ratings: Ratings, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    chosen = [name for name in STRANGERS if rng.random() < 0.4]
    for name in chosen:
        (tmp_path / name).write_text(STRANGERS[name])
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "model.json").write_text("mine")
    model = build("biases").fit(ratings)
    refused = False
    try:
        model.save(tmp_path)
    except UserError as error:
        refused = True
        assert "no model of imbik" in str(error)
    assert refused == bool({"model.json", "model.tmp", "arrays.safetensors"} & set(chosen))
    assert {name: (tmp_path / name).read_text() for name in chosen} == {name: STRANGERS[name] for name in chosen}
    assert (tmp_path / "sub" / "model.json").read_text() == "mine"
    assert not (tmp_path / "arrays.imbik-tmp").exists()
    if not refused:
        assert np.array_equal(load(tmp_path).predict(["u1"], ["i1"]), model.predict(["u1"], ["i1"]))


def test_a_save_replaces_an_older_model_and_what_a_kill_left_of_one(ratings: Ratings, tmp_path: Path) -> None:
    old, new = build("biases", user_ridge=50.0).fit(ratings), build("biases").fit(ratings)
    old.save(tmp_path)
    text = (tmp_path / "model.json").read_text()
    (tmp_path / "model.tmp").write_text(text[: len(text) // 2])  # killed while it was written
    (tmp_path / "arrays.safetensors").write_bytes((tmp_path / "arrays.safetensors").read_bytes()[:-7])
    new.save(tmp_path)
    assert load(tmp_path).settings == new.settings
    assert sorted(path.name for path in tmp_path.iterdir()) == ["arrays.safetensors", "model.json"]


def damages() -> dict[str, object]:
    """What may be wrong with a ``model.json``: key -> new value, or a key that is taken away."""
    wrong: dict[str, object] = {f"no {key}": key for key in ("format", "sha256", "model", "settings", "facts", "range", "users", "items")}
    for key, values in {
        "settings": [[], {"user_ridge": "many"}, {"user_ridge": -1}, {"unheard": 1}, None],
        "facts": [[], {}, {"mean": "3"}, {"mean": None}, {"mean": [3]}],
        "range": [[1], [1, 2, 3], ["a", "b"], None, [1, None], {"low": 1}],
        "users": [None, [], ["a"], [1, 2], "abc", {}],
        "items": [None, [], ["a"], [1, 2], "abc", {}],
        "model": ["magic", None, [], "pmf", "item-knn", "bpmf"],
        "format": ["1", None, 2],
    }.items():
        wrong |= {f"{key} = {value!r}": {key: value} for value in values}
    return wrong


@pytest.mark.parametrize("what", damages())
def test_a_damaged_document_is_one_message(what: str, ratings: Ratings, tmp_path: Path) -> None:
    build("biases").fit(ratings).save(tmp_path)
    document = json.loads((tmp_path / "model.json").read_text())
    change = damages()[what]
    if isinstance(change, str):
        del document[change]
    else:
        document |= change  # type: ignore[operator]
    (tmp_path / "model.json").write_text(json.dumps(document))
    with pytest.raises(UserError):
        load(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"null", b"7", b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe\x00", b'{"sha256": NaN}', b"9" * 10_000]
)
def test_a_file_that_is_no_document_is_one_message(content: bytes, ratings: Ratings, tmp_path: Path) -> None:
    build("biases").fit(ratings).save(tmp_path)
    (tmp_path / "model.json").write_bytes(content)
    with pytest.raises(UserError, match=r"cannot be read|do not belong"):
        load(tmp_path)


@pytest.mark.parametrize("name", MODELS)
def test_arrays_of_another_shape_are_refused_before_a_compiled_loop_reads_them(
    name: str, ratings: Ratings, events: Ratings, tmp_path: Path
) -> None:
    from safetensors.numpy import load_file, save_file

    from imbik.jobs.files import sha256

    settings = {key: 2 for key in ("rank", "epochs", "samples", "burn_in") if hasattr(MODELS[name], key)}
    build(name, **settings).fit(events if MODELS[name].feedback == "implicit" else ratings).save(tmp_path)
    whole = load_file(tmp_path / "arrays.safetensors")
    document = json.loads((tmp_path / "model.json").read_text())

    def forged(arrays: dict[str, np.ndarray]) -> None:
        save_file({key: np.ascontiguousarray(value) for key, value in arrays.items()}, tmp_path / "arrays.safetensors")
        (tmp_path / "model.json").write_text(json.dumps({**document, "sha256": sha256(tmp_path / "arrays.safetensors")}))

    forged(whole)
    load(tmp_path)
    for key, array in whole.items():
        others = [{k: v for k, v in whole.items() if k != key}, {**whole, key: array[..., :-1]}]
        if "ind" in key:
            others += [{**whole, key: array + 10_000}, {**whole, key: -array - 1}, {**whole, key: array.astype(np.float32)}]
        for arrays in others:
            forged(arrays)
            with pytest.raises(UserError, match="cannot be read"):
                load(tmp_path)


def test_neighbors_were_neighbours(ratings: Ratings, tmp_path: Path) -> None:
    assert build("item-knn", neighbours="7").settings["neighbors"] == 7
    model = ItemKNN(neighbours=7)  # type: ignore[call-arg]
    assert model == ItemKNN(neighbors=7) == ItemKNN(7) and model.neighbours == 7  # type: ignore[attr-defined]
    model.fit(ratings).save(tmp_path / "new")
    shutil.copytree(tmp_path / "new", tmp_path / "old")
    document = json.loads((tmp_path / "new" / "model.json").read_text())
    document["settings"]["neighbours"] = document["settings"].pop("neighbors")
    (tmp_path / "old" / "model.json").write_text(json.dumps(document))
    assert load(tmp_path / "old").settings == model.settings
    assert load(tmp_path / "old").recommend("u1", 5) == model.recommend("u1", 5)


def test_settings_become_the_types_of_their_fields(ratings: Ratings, tmp_path: Path) -> None:
    from imbik.recommend.models.pmf import PMF

    model = PMF(rank=np.int64(2), epochs="3", biases="no", ridge=4).fit(ratings)  # type: ignore[arg-type]
    assert model.settings["rank"] == 2 and model.settings["epochs"] == 3 and model.settings["biases"] is False
    model.save(tmp_path)
    assert load(tmp_path).settings == model.settings
    for wrong, message in (({"rank": 2.5}, "wrong type"), ({"biases": "perhaps"}, "wrong type"), ({"solver": "magic"}, "unknown solver")):
        with pytest.raises(UserError, match=message):
            PMF(**wrong).fit(ratings)  # type: ignore[arg-type]
