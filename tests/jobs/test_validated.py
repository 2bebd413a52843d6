"""What a user reads when a YAML file or a setting is wrong: one message that names the place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from imbik.errors import UserError
from imbik.jobs.validated import Wording, bracketed, parse_yaml, read_yaml, validated


class Row(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    count: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid")
    rows: list[Row]
    by_name: dict[str, Row] = {}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "t.yaml, rows: field missing."),
        ({"rows": [{"name": "a"}, {}]}, "t.yaml, rows[1].name: field missing."),
        ({"rows": [], "row": 1}, "t.yaml, row: unknown field. Expected: rows, by_name. Do: did you mean rows?"),
        ({"rows": [{"name": "a", "cuont": 1}]}, "t.yaml, rows[0].cuont: unknown field."),
        ({"rows": [{"name": "a", "count": 0}]}, "rows[0].count: not valid. Found: 0. Expected: 'auto' or greater than or equal to 1."),
        ({"rows": [], "by_name": {"a class": 5}}, "t.yaml, by_name.a class: not valid. Found: 5. Expected: an object."),
        ([], "t.yaml: not valid. Found: []. Expected: an object."),
    ],
)  # fmt: skip
def test_the_first_mistake_is_told_with_its_place(values, message):
    with pytest.raises(UserError) as error:
        validated(Table, values, "t.yaml", Wording(wrong="not valid", place=bracketed, mapping="an object"))
    assert str(error.value).endswith(message)


def test_what_is_right_comes_back_as_the_model():
    assert validated(Table, {"rows": [{"name": "a", "count": "3"}]}, "t.yaml").rows == [Row(name="a", count=3)]


def test_a_file_is_read_with_its_mistakes_told(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    with pytest.raises(UserError, match=r"mine.yaml: no such price list\. Do: print the shipped one"):
        read_yaml(path, "price list", fix="print the shipped one")
    path.write_bytes(b"\xef\xbb\xbfname: \xc3\xbc\n")
    assert read_yaml(path) == {"name": "ü"}
    path.write_bytes(b"name: \xfc\n")
    with pytest.raises(UserError, match=r"mine.yaml: not UTF-8 text"):
        read_yaml(path)
    path.write_text("a: 1\nb: [\n")
    with pytest.raises(UserError, match=r"mine.yaml, line 3: not valid YAML"):
        read_yaml(path)
    with pytest.raises(UserError, match=r"text, line 1: not valid YAML. Found: duplicate key 'a'"):
        parse_yaml("a: 1\na: 2", "text")
