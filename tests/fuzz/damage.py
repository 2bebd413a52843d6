"""Ways to damage a file: cut, filled with noise, other encodings, wrong types, huge numbers, depth, names that leave the folder, code.

Every function takes the bytes of a file that is right and a random generator, and gives the bytes of one that is not, or None where the
file is of another kind. Which of the results are still right is the reader's to say; what none may do is end in a traceback.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import yaml

Damage = Callable[[bytes, Random], bytes | None]

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**63), 10**30, 0.5, -0.0, 1e308, -1e308, float("nan"), float("inf"), float("-inf"),
    "", " ", "nan", "../../escaped", "/etc/passwd", "..\\escaped", "C:\\escaped", "a\0b", "x" * 100_000, "\ud800", "[/b]", "{0.__class__}",
    "%s%n", "\u202e\r\n\x1b[31m", [], {}, [[]], [None], [1, "a", {}], {"": ""}, {"a": {"b": None}}, [[0] * 3] * 3, ["a"] * 5000,
    list(range(5000)), {str(number): number for number in range(5000)},
)  # fmt: skip
"""Values that stand where others are expected."""

CODE = (
    "!!python/object/apply:os.system ['touch {mark}']",
    "!!python/object/new:os.system ['touch {mark}']",
    "__import__('pathlib').Path({mark!r}).touch()",
    "{{{{ cycler.__init__.__globals__.os.system('touch {mark}') }}}}",
    "$(touch {mark})",
    "; touch {mark} #",
)


class Pickled:
    """What runs code where it is unpickled."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.mark,)


# ---- any file ----------------------------------------------------------------------------------------------------------------------


def empty(content: bytes, random: Random) -> bytes:
    return b""


def cut(content: bytes, random: Random) -> bytes:
    return content[: random.randrange(len(content) or 1)]


def cut_end(content: bytes, random: Random) -> bytes:
    return content[: -random.choice((1, 2, 8))]


def flipped(content: bytes, random: Random) -> bytes:
    found = bytearray(content)
    for _ in range(random.choice((1, 3, 30))):
        if found:
            found[random.randrange(min(len(found), random.choice((64, 4096, len(found)))))] = random.randrange(256)
    return bytes(found)


def noise(content: bytes, random: Random) -> bytes:
    return random.randbytes(random.choice((1, 7, 64, 4096)))


def zeros(content: bytes, random: Random) -> bytes:
    return bytes(random.choice((1, 64, len(content) or 1)))


def spaces(content: bytes, random: Random) -> bytes:
    return random.choice((b" ", b"\n", b"\r\n\r\n", b"\xef\xbb\xbf", b"\xff\xfe", b"\t \n"))


def twice(content: bytes, random: Random) -> bytes:
    return content + content


def with_nul(content: bytes, random: Random) -> bytes:
    place = random.randrange(len(content) or 1)
    return content[:place] + b"\0" + content[place:]


def encoded(content: bytes, random: Random) -> bytes | None:
    try:
        text = content.decode()
    except UnicodeError:
        return None
    return (text + random.choice(("", "ş", "é"))).encode(
        random.choice(("utf-16", "utf-16-be", "utf-32", "utf-8-sig", "cp1254", "cp037")), "replace"
    )


def long_line(content: bytes, random: Random) -> bytes:
    return content + random.choice((b"a", b'"', b",", b"[", b"0", b"\xc3\xa7")) * 300_000


def html(content: bytes, random: Random) -> bytes:
    return b"<!DOCTYPE html><html><body>404: not found</body></html>\n"


def pickled(content: bytes, random: Random) -> bytes:
    import pickle

    return pickle.dumps(Pickled(MARK[0]))


ANY: tuple[Damage, ...] = (empty, cut, cut_end, flipped, noise, zeros, spaces, twice, with_nul, encoded, long_line, html, pickled)
MARK = ["mark"]
"""Where code that runs leaves its trace."""


# ---- documents ---------------------------------------------------------------------------------------------------------------------


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in a document, the whole of it first; of long lists the first few."""
    yield path
    if isinstance(value, Mapping):
        for key in list(value)[:60]:
            yield from _places(value[key], (*path, key))
    elif isinstance(value, list):
        for number in range(min(len(value), 4)):
            yield from _places(value[number], (*path, number))


def _put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    changed = dict(value) if isinstance(value, Mapping) else list(value)
    changed[path[0]] = _put(changed[path[0]], path[1:], new)
    return changed


def _without(value: Any, path: tuple[Any, ...]) -> Any:
    changed = dict(value) if isinstance(value, Mapping) else list(value)
    if len(path) == 1:
        del changed[path[0]]
    else:
        changed[path[0]] = _without(changed[path[0]], path[1:])
    return changed


def odd_value(document: Any, random: Random) -> Any:
    new = random.choice(ODD) if random.random() < 0.9 else random.choice(CODE).format(mark=MARK[0])
    return _put(document, _near_the_top(document, random), new)


def lost(document: Any, random: Random) -> Any:
    path = _near_the_top(document, random)
    return _without(document, path) if path else None


def more(document: Any, random: Random) -> Any:
    path = random.choice([path for path in _places(document) if isinstance(_at(document, path), Mapping)] or [()])
    inner = _at(document, path)
    key = random.choice(("", "unknown", "../../escaped", "0", "__class__", "x" * 10_000))
    return _put(document, path, {**inner, key: random.choice(ODD)}) if isinstance(inner, Mapping) else [inner, inner]


def swapped(document: Any, random: Random) -> Any:
    paths = list(_places(document))
    return _put(document, random.choice(paths), _at(document, random.choice(paths)))


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for part in path:
        value = value[part]
    return value


def _near_the_top(document: Any, random: Random) -> tuple[Any, ...]:
    """A place in a document: each depth is as likely as another, however many values it has."""
    depths: dict[int, list[tuple[Any, ...]]] = {}
    for path in _places(document):
        depths.setdefault(len(path), []).append(path)
    return random.choice(depths[random.choice(list(depths))])


DOCUMENT: tuple[Callable[[Any, Random], Any], ...] = (odd_value, odd_value, odd_value, lost, more, swapped)


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def json_document(content: bytes, random: Random) -> bytes | None:
    packed = content[:2] == b"\x1f\x8b"
    changed = random.choice(DOCUMENT)(json.loads(gzip.decompress(content) if packed else content), random)
    return gzip.compress(_json(changed)) if packed else _json(changed)


def json_text(content: bytes, random: Random) -> bytes:
    """JSON that is right or nearly so, in forms that parsers stumble over."""
    return random.choice(
        (
            b"[" * 100_000, b'{"a":' * 100_000, b"[" * 100_000 + b"]" * 100_000, b"1" * 10_000, b'{"schema": ' + b"1" * 5000 + b"}",
            b"NaN", b"null", b'"text"',
            b"{}", b"[]", b"-", b'{"a": 1, "a": 2}', b'{"schema": 1e999}', b"{'a': 1}", b'{"a": "\\ud800"}', b'{"a": 1,}', b'{"schema": 1',
            content.replace(b":", b"=", 1), content.replace(b"}", b",}"), content.replace(b"1", b"1" * 5000, 1),
            content.replace(b": 1", b": " + b"[" * 50_000 + b"]" * 50_000, 1),
        )
    )  # fmt: skip


def yaml_document(content: bytes, random: Random) -> bytes | None:
    changed = random.choice(DOCUMENT)(yaml.safe_load(content), random)
    return yaml.safe_dump(changed, allow_unicode=True).encode("utf-8", "surrogatepass")


_BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


def yaml_text(content: bytes, random: Random) -> bytes:
    code = random.choice(CODE).format(mark=MARK[0]).encode()
    first = content.splitlines()[0] if content.splitlines() else b"name: a"
    key = first.split(b":")[0]
    return random.choice(
        (
            content + b"\nextra: " + code, key + b": " + code, content.replace(first, key + b": " + code), b"[" * 20_000, b"- " * 5000,
            b"{a: " * 20_000,
            _BOMB.encode(), content + b"\n" + _BOMB.encode(), b"a: &a [*a]", key + b": &a {b: *a}", content + b"\nx: &a [*a]",
            b"a: 2020-99-99", content + b"\nx: 2020-99-99 99:99:99",
            b"a: " + b"1" * 5000, content + b"\nx: 0x", b"a: !!int abc", b"a: !!float abc", b"a: !!binary _", b"a: !!timestamp x",
            b"a: !!set x", b"a: !!omap x",
            b"--- a\n--- b\n", b"%YAML 9.9\n---\na: 1", b"\ta: 1", b"a: b: c", b"? [a]\n: b", b"? {a: b}\n: c", b"<<: 1", b"<<: [1]",
            b"a: *missing", b"key: @x", b"a: 'open",
            b"a: 1__2", b"a: 190:20:30:" + b"9" * 5000, b"a: .nan", b"a: .inf", b"null: null", b"1: 2", b"- a", b"just text",
            content.replace(b":", b": -", 1), b"!!str : a", b"a: !local x",
            content.replace(b"\n", b"\x85"), b"a: \x07", b"a: \xed\xa0\x80",
        )
    )  # fmt: skip


def lines_of_json(content: bytes, random: Random) -> bytes | None:
    lines = content.splitlines()
    place = random.randrange(len(lines))
    lines[place] = random.choice((json_document, json_text))(lines[place], random) or b""
    return b"\n".join(lines)


# ---- tables ------------------------------------------------------------------------------------------------------------------------


def cells(content: bytes, random: Random) -> bytes:
    """A table of text in which a cell, a row, a separator or a quote is odd."""
    lines = content.splitlines()
    place = random.randrange(len(lines))
    cell = random.choice(
        (
            b"",
            b'"',
            b'""',
            b'a"b',
            b"\0",
            b"nan",
            b"-inf",
            b"1e999",
            b"9" * 400,
            b"\xff",
            b"\xed\xa0\x80",
            b"=1+1",
            b"\r",
            b"x" * 200_000,
            b"None",
            b"{}",
            b"[1,2]",
            "ı".encode(),
        )
    )
    parts = lines[place].split(b",")
    parts[random.randrange(len(parts))] = cell
    lines[place] = b",".join(parts)
    return random.choice(
        (
            b"\n".join(lines), b"\n".join(lines), b"\n".join(lines), lines[0], lines[0] + b"\n", b"\n".join(lines[1:]),
            b"\n".join([lines[0], *[b""] * 5]),
            b"\r".join(lines), b"\n".join(line + b"," for line in lines), b"\n".join([lines[0] + b"," + lines[0], *lines[1:]]),
            b"sep=;\n" + content, b"sep=\n" + content,
            b"sep=\0\n" + content, content.replace(b",", b";"), content.replace(b",", b"\t"), content.replace(b",", b"|"),
            content + b'"', content.replace(b"\n", b'"\n', 1),
            b",".join([b"a"] * 5000) + b"\n" + b",".join([b"1"] * 5000), b"a" * 300_000 + b"\n1", b",,,\n,,,",
            gzip.compress(content)[:-9], b"PK\x03\x04" + content,
        )
    )  # fmt: skip


def tagged(content: bytes, random: Random) -> bytes:
    lines = content.splitlines()
    place = random.randrange(len(lines))
    lines[place] = random.choice(
        (b"", b"a", b"a b c d e", b"word\tI-X\tB-", b"word O\xff", b"\t\t", b"word B", b" O", b"x" * 100_000 + b" O")
    )
    return b"\n".join(lines)


def parquet_table(content: bytes, random: Random) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(content))
    name = random.choice(table.column_names)
    place = table.column_names.index(name)
    n = table.num_rows
    odd = random.choice(
        (
            pa.nulls(n), pa.array([{"a": 1}] * n), pa.array([[1, 2]] * n), pa.array([float("nan")] * n), pa.array([b"\xff\xfe"] * n),
            pa.array([2**63 - 1] * n),
            pa.array([None, *[1] * (n - 1)]), pa.array([True] * n), pa.array(["2020"] * n).dictionary_encode(), pa.array([10**11] * n,
            pa.timestamp("s")),
            pa.array([-(2**62)] * n, pa.timestamp("ns")), pa.array(["a\0b"] * n), pa.array([float("inf")] * n), pa.array([0] * n,
            pa.duration("s")), pa.array([0] * n, pa.date64()),
        )
    )  # fmt: skip
    made = random.choice(
        (
            table.set_column(place, name, odd),
            table.drop_columns([name]),
            table.slice(0, 0),
            table.append_column(name, odd),
            table.rename_columns([""] * table.num_columns),
        )
    )
    made = made.replace_schema_metadata(
        {b"huggingface": random.choice((b"{", b"[]", b'{"info": 1}', b'{"info": {"features": []}}', b"\xff"))}
    )
    out = io.BytesIO()
    pq.write_table(made, out)
    return out.getvalue()


# ---- arrays ------------------------------------------------------------------------------------------------------------------------


def _odd_array(old: np.ndarray, random: Random) -> np.ndarray:
    flat = old.reshape(-1)
    return random.choice(
        (
            np.zeros(0, np.float32), np.zeros((0, 3), np.float32), np.full(old.shape, np.nan, np.float32), np.full(old.shape, np.inf,
            np.float32), flat, flat[:-1], old[None],
            old.astype(np.float64) if old.dtype.kind in "fiu" else flat, old.astype(np.complex64) if old.dtype.kind in "fiu" else flat,
            np.array(["a", "b"]), np.array(b"\xff"), np.array("{"),
            np.array(7), np.full(old.shape, 10**6, np.int64), np.full(old.shape, -1, np.int64), np.zeros(3, [("a", "i4")]),
            np.array([np.datetime64("NaT")]), old[..., :1] if old.ndim else flat,
            np.array("null"), np.array('{"id": 1}'), np.array("[]"),
        )
    )  # fmt: skip


def npz(content: bytes, random: Random) -> bytes:
    """An archive of arrays in which one is odd, missing, pickled, of a shape that no memory holds, or under a name that leads away."""
    with np.load(io.BytesIO(content)) as file:
        arrays = {name: file[name] for name in file.files}
    name = random.choice(list(arrays))
    kind = random.choice(("odd", "odd", "odd", "lost", "pickle", "huge", "named", "foreign", "json"))
    out = io.BytesIO()
    if kind == "odd":
        arrays[name] = _odd_array(arrays[name], random)
    elif kind == "lost":
        del arrays[name]
    elif kind == "pickle":
        arrays[name] = np.array([Pickled(MARK[0])], dtype=object)
    elif kind == "json" and "about" in arrays:
        arrays["about"] = np.array((json_document(str(arrays["about"]).encode(), random) or b"").decode())
    elif kind == "named":
        arrays["../../escaped"] = arrays[name]
    np.savez(out, **arrays)
    if kind in ("huge", "foreign"):
        return _zip_with(out.getvalue(), f"{name}.npy", _huge_header() if kind == "huge" else b"not an array")
    return out.getvalue()


def _huge_header() -> bytes:
    written = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 1000000), }"
    return b"\x93NUMPY\x01\x00" + (len(written) + 1).to_bytes(2, "little") + written + b"\n"


def _zip_with(content: bytes, name: str, new: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as made:
        for entry in old.namelist():
            made.writestr(entry, new if entry == name else old.read(entry))
    return out.getvalue()


def safetensors(content: bytes, random: Random) -> bytes:
    """Weights whose header lies: another length, other types and offsets, a tensor lost or changed."""
    length = int.from_bytes(content[:8], "little")
    header, rest = json.loads(content[8 : 8 + length]), content[8 + length :]
    kind = random.choice(("length", "document", "tensor", "tensor", "nan", "text", "renamed"))
    if kind == "length":
        return random.choice((0, 1, length - 1, length + 1, 2**40, 2**64 - 1)).to_bytes(8, "little") + content[8:]
    if kind == "text":
        return _framed(json_text(_json(header), random), rest)
    names = [name for name in header if name != "__metadata__"]
    name = random.choice(names)
    if kind == "nan":
        return content[: 8 + length] + b"\xff" * len(rest)
    if kind == "renamed":
        header[random.choice(("../../escaped", "", "module." + name))] = header.pop(name)
    elif kind == "tensor":
        key = random.choice(("dtype", "shape", "data_offsets"))
        header[name] = {
            **header[name],
            key: random.choice(("F64", "I64", "F8_E4M3", [], [0], [1, 1, 1], [2**40], [-1], [0, 2**40], "x", None)),
        }
    else:
        header = random.choice(DOCUMENT)(header, random)
    return _framed(_json(header), rest)


def _framed(header: bytes, rest: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header + rest


# ---- places ------------------------------------------------------------------------------------------------------------------------


def as_folder(path: Path, outside: Path) -> None:
    path.unlink()
    path.mkdir()


def as_lost(path: Path, outside: Path) -> None:
    path.unlink()


def as_link_away(path: Path, outside: Path) -> None:
    path.rename(outside / f"moved-{path.name}")
    path.symlink_to(outside / f"moved-{path.name}")


def as_dangling_link(path: Path, outside: Path) -> None:
    path.unlink()
    path.symlink_to(outside / "nowhere")


def as_circle(path: Path, outside: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


PLACES = (as_folder, as_lost, as_link_away, as_dangling_link, as_circle)
KINDS: Mapping[str, tuple[Damage, ...]] = {
    "json": (*ANY, json_text, *[json_document] * 14),
    "yaml": (*ANY, *[yaml_text] * 14, *[yaml_document] * 14),
    "lines": (*ANY, *[lines_of_json] * 10),
    "csv": (*ANY, *[cells] * 12),
    "text": ANY,
    "tagged": (*ANY, *[tagged] * 8),
    "parquet": (*ANY, *[parquet_table] * 12),
    "npz": (*ANY, *[npz] * 16),
    "safetensors": (*ANY, *[safetensors] * 16),
    "binary": ANY,
    "ngrams": (*ANY, *[json_document] * 10),
}
"""Kind of a file -> ways to damage it; a way that stands several times is taken more often."""
