"""The English templates of whatever a user may read: found in the source by following values into errors, lines, help and progress.

A template is the English text with its values as numbered places: ``f"{len(rows):,} rows of {path}"`` is ``{0:,} rows of {1}``. The
same text stands as a key in ``locale/messages.yaml`` with its Turkish beside it. A value that is one of a few texts of ours (an ``a if b
else c``, a variable, a constant, what a function of ours returns) is put in, so that each sentence stands whole.
"""

from __future__ import annotations

import argparse
import ast
import itertools
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import imbik

ROOT = Path(imbik.__file__).parent
MOST = 12  # sentences that one expression may stand for; beyond it the parts are told apart at run time
_ERRORS = ("UserError", "TooLarge", "ParityError", "Failure")
_FIELDS = ("what", "where", "found", "expected", "fix", "error")
_FIRST = (
    "say",
    "_say",
    "tell",
    "track",
    "echo",
    "add_column",
    "translated",
    "translate",
    "Table",
    "progress",
    "remark",
)  # their first argument is read by a user
_WORDS = ("help", "note", "title", "caption")  # keywords whose value is read by a user, in whatever call
_DEVELOPERS = ("testing", "moved.py")  # what only a programmer reads
_TEXTS_OF_USERS = ("MESSAGES", "MESSAGES_TR", "_PROBES")  # constants that are told as texts of users are
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Place:
    """A value in a template, with its format specification."""

    spec: str = ""


Parts = tuple[str | Place, ...]


@dataclass
class Module:
    """One file of the house."""

    path: Path
    tree: ast.Module
    constants: dict[str, ast.expr] = field(default_factory=dict)
    functions: dict[str, list[Function]] = field(default_factory=lambda: defaultdict(list))
    imports: dict[str, str] = field(default_factory=dict)
    around: dict[ast.AST, ast.AST] = field(default_factory=dict)
    nodes: dict[Function, list[ast.AST]] = field(default_factory=dict)

    def inside(self, function: Function) -> list[ast.AST]:
        """Return all nodes of a function."""
        if function not in self.nodes:
            self.nodes[function] = list(ast.walk(function))
        return self.nodes[function]

    def function_of(self, node: ast.AST) -> Function | None:
        """Return the function that a node stands in."""
        while node in self.around:
            node = self.around[node]
            if isinstance(node, Function):
                return node
        return None


def read_module(path: Path) -> Module:
    """Parse a file; note its constants, functions and imports."""
    module = Module(path, ast.parse(path.read_text("utf-8")))
    for node in ast.walk(module.tree):
        for child in ast.iter_child_nodes(node):
            module.around[child] = node
        if isinstance(node, Function):
            module.functions[node.name].append(node)
        if isinstance(node, ast.ImportFrom) and node.module:
            module.imports |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for statement in module.tree.body:
        for target, value in assigned(statement):
            module.constants[target] = value
    return module


def assigned(statement: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Yield the names that a statement gives a value."""
    if isinstance(statement, ast.Assign):
        for target in statement.targets:
            if isinstance(target, ast.Name):
                yield target.id, statement.value
            elif isinstance(target, ast.Tuple) and isinstance(statement.value, ast.Tuple) and len(target.elts) == len(statement.value.elts):
                yield from (
                    (name.id, value) for name, value in zip(target.elts, statement.value.elts, strict=True) if isinstance(name, ast.Name)
                )
    elif isinstance(statement, (ast.AnnAssign, ast.AugAssign)) and isinstance(statement.target, ast.Name) and statement.value is not None:
        yield statement.target.id, statement.value


class House:
    """All files of the house, and the templates that reach a user."""

    def __init__(self, root: Path = ROOT) -> None:
        self.modules = {
            path.relative_to(root.parent).with_suffix("").as_posix().replace("/", "."): read_module(path)
            for path in root.rglob("*.py")
            if path.relative_to(root).parts[0] not in _DEVELOPERS
        }
        self.functions: dict[str, list[tuple[Module, Function]]] = defaultdict(list)
        self.fields: dict[str, set[str]] = defaultdict(set)  # a field's name -> classes that declare it
        self.classes: dict[str, list[tuple[Module, ast.ClassDef]]] = defaultdict(list)
        self.calls: dict[str, list[tuple[Module, ast.Call]]] = defaultdict(list)
        for module in self.modules.values():
            for name, found in module.functions.items():
                self.functions[name] += [(module, function) for function in found]
            foreign = modules_of(module.tree)
            for node in ast.walk(module.tree):
                if isinstance(node, ast.ClassDef):
                    self.classes[node.name].append((module, node))
                    for statement in node.body:
                        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                            self.fields[statement.target.id].add(node.name)
                if isinstance(node, ast.Call) and not (isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) in foreign):
                    self.calls[called(node)].append((module, node))
        self.found: dict[str, str] = {}  # template -> where it stands first
        self._open: list[tuple[Module, ast.expr]] = []
        self._seen: set[int] = set()
        self._said: dict[int, list[Parts]] = {}
        self._followed: set[tuple[str, str]] = set()

    def templates(self) -> dict[str, str]:
        """Return template -> file and line of all that a user may read."""
        for module in self.modules.values():
            self._open += [(module, value) for value in _sinks(module)]
        while self._open:
            module, value = self._open.pop()
            if id(value) not in self._seen:
                self._seen.add(id(value))
                for parts in self.resolve(value, module):
                    self._keep(parts, module, value)
        return self.found

    def _keep(self, parts: Parts, module: Module, node: ast.expr) -> None:
        text = written(parts)
        if says_something(parts):
            self.found.setdefault(text, f"{module.path.relative_to(ROOT.parent)}:{node.lineno}")

    def nested(self, module: Module, value: ast.expr) -> None:
        """Note a value that is told as part of another text."""
        self._open.append((module, value))

    # ---- what an expression may say --------------------------------------------------------------------------------------------

    def resolve(self, node: ast.expr, module: Module, depth: int = 0) -> list[Parts]:
        """Return the texts that an expression may be, each with places for what is only known at run time."""
        if isinstance(node, ast.Constant) and node.value is None:
            return []
        if id(node) not in self._said:
            self._said[id(node)] = [(Place(),)]  # what a text says of itself, as in text = text + "s", is a place
            self._said[id(node)] = self._resolve(node, module, depth)
        return self._said[id(node)]

    def _resolve(self, node: ast.expr, module: Module, depth: int) -> list[Parts]:
        place: list[Parts] = [(Place(),)]
        again = lambda inner: self.resolve(inner, module, depth + 1)  # noqa: E731
        match node:
            case ast.Constant(value=str() as text):
                return [(text,)]
            case ast.JoinedStr(values=values):
                return product([[(v.value,)] if isinstance(v, ast.Constant) else self._put_in(v, module, depth) for v in values])
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return product([self._short(left, module, depth), self._short(right, module, depth)])
            case ast.IfExp(body=body, orelse=otherwise):
                return unique([*again(body), *again(otherwise)])
            case ast.BoolOp(values=values):
                return unique(text for v in values for text in again(v))
            case ast.Name(id=name):
                return self._name(name, node, module, depth)
            case ast.Subscript(value=ast.Name(id=name)):
                return self._members(name, module, depth) or place
            case ast.Dict(values=values) | ast.List(elts=values) | ast.Tuple(elts=values) | ast.Set(elts=values):
                return unique(text for v in values for text in again(v)) or place
            case ast.Call():
                return self._call(node, module, depth)
            case ast.NamedExpr(value=value):
                return again(value)
        if isinstance(node, ast.Attribute):
            self._follow_field(node.attr)
        return place

    def _put_in(self, value: ast.expr, module: Module, depth: int) -> list[Parts]:
        assert isinstance(value, ast.FormattedValue)
        if value.format_spec is not None or value.conversion != -1:
            spec = value.format_spec
            plain = "".join(str(v.value) for v in spec.values if isinstance(v, ast.Constant)) if isinstance(spec, ast.JoinedStr) else ""
            return [(Place(plain),)]
        return self._short(value.value, module, depth)

    def _short(self, value: ast.expr, module: Module, depth: int) -> list[Parts]:
        """Return what a part of a sentence may be, put in where it is one of a few; else a place, and its texts are told apart."""
        texts = [text or ("",) for text in self.resolve(value, module, depth + 1)]
        if not texts:
            return [(Place(),)]
        if len(texts) > 4 or sum(isinstance(part, Place) for text in texts for part in text) > 6:
            self.nested(module, value)
            return [(Place(),)]
        return texts

    def _name(self, name: str, node: ast.AST, module: Module, depth: int) -> list[Parts]:
        function = module.function_of(node)
        while function is not None:
            inside = module.inside(function)
            if name in parameters(function):  # one that gets another value on the way is still what callers give
                self._follow(function, name)
            values = [value for statement in inside for target, value in assigned(statement) if target == name]
            looped = [n for n in inside if isinstance(n, (ast.For, ast.comprehension)) and name in names_in(n.target)]
            if values:
                return unique(text for value in values for text in self.resolve(value, module, depth + 1)) or [(Place(),)]
            if looped:
                return unique(text for loop in looped for text in self._looped(name, loop, module, depth)) or [(Place(),)]
            if name in parameters(function):
                return [(Place(),)]
            function = module.function_of(function)
        found = None if name in _TEXTS_OF_USERS else self.constant(name, module)
        return self.resolve(found[1], found[0], depth + 1) if found else [(Place(),)]

    def _looped(self, name: str, loop: ast.For | ast.comprehension, module: Module, depth: int) -> list[Parts]:
        """Return the texts that a loop over a literal gives a name."""
        rows = loop.iter
        if isinstance(rows, ast.Name) and (found := self.constant(rows.id, module)):
            module, rows = found
        if not isinstance(rows, (ast.Tuple, ast.List)):
            return [(Place(),)]
        if isinstance(loop.target, ast.Name):
            return [text for row in rows.elts for text in self.resolve(row, module, depth + 1)]
        at = names_in(loop.target).index(name)
        picked = [row.elts[at] for row in rows.elts if isinstance(row, ast.Tuple) and len(row.elts) > at]
        return [text for value in picked for text in self.resolve(value, module, depth + 1)]

    def _members(self, name: str, module: Module, depth: int) -> list[Parts]:
        found = self.constant(name, module)
        if found and isinstance(found[1], ast.Dict):
            return unique(text for value in found[1].values for text in self.resolve(value, found[0], depth + 1))
        return []

    def constant(self, name: str, module: Module) -> tuple[Module, ast.expr] | None:
        """Return a constant of a file or of the one that it is imported from."""
        if name in module.constants:
            return module, module.constants[name]
        home, _, own = module.imports.get(name, "").rpartition(".")
        other = self.modules.get(home)
        return (other, other.constants[own]) if other and own in other.constants else None

    def _call(self, node: ast.Call, module: Module, depth: int) -> list[Parts]:
        name = called(node)
        if isinstance(node.func, ast.Attribute):
            if name == "join" and node.args:
                self._list(node.args[0], module)
                return [(Place(),)]
            if name in ("rstrip", "strip", "removeprefix", "removesuffix", "capitalize", "lstrip"):
                return self.resolve(node.func.value, module, depth + 1)
            if name == "get" and isinstance(node.func.value, ast.Name):
                known = self._members(node.func.value.id, module, depth)
                return unique([*known, *(t for a in node.args[1:] for t in self.resolve(a, module, depth + 1))]) if known else [(Place(),)]
            if name == "format":
                return [(Place(),)]
        if name == "next" and node.args:
            default = [t for a in node.args[1:] for t in self.resolve(a, module, depth + 1)]
            if isinstance(node.args[0], ast.GeneratorExp):
                default = [*self.resolve(node.args[0].elt, module, depth + 1), *default]
            return unique(default) or [(Place(),)]
        if name in ("str", "escape") and len(node.args) == 1:
            return self.resolve(node.args[0], module, depth + 1)
        of_house = [pair for pair in self.functions.get(name, []) if returns_text(pair[1])]
        if isinstance(node.func, ast.Name):
            of_house = [pair for pair in of_house if pair[0] is module] or of_house
        if not 0 < len(of_house) <= MOST or name.startswith("__"):
            return [(Place(),)]
        return unique(text for home, function in of_house for text in self._returned(home, function, depth)) or [(Place(),)]

    def _returned(self, module: Module, function: Function, depth: int) -> list[Parts]:
        """Return the texts that a function gives."""
        found = [n for n in module.inside(function) if isinstance(n, ast.Return) and n.value and module.function_of(n) is function]
        return [text for n in found if n.value for text in self.resolve(n.value, module, depth + 1)]

    def _list(self, items: ast.expr, module: Module) -> None:
        """Note the texts of a list that is told with commas between them."""
        if isinstance(items, ast.IfExp):
            self._list(items.body, module)
            self._list(items.orelse, module)
        elif isinstance(items, ast.Call) and called(items) in ("fromkeys", "sorted", "filter", "list", "tuple", "set"):
            self._list(items.args[-1] if called(items) == "filter" else items.args[0], module)
        elif isinstance(items, (ast.GeneratorExp, ast.ListComp)):
            if not isinstance(items.elt, (ast.Name, ast.Attribute)):
                self.nested(module, items.elt)
        elif isinstance(items, (ast.List, ast.Tuple)):
            for item in items.elts:
                self.nested(module, item.value if isinstance(item, ast.Starred) else item)
        elif isinstance(items, ast.Name) and (function := module.function_of(items)):
            self._variable(items.id, function, module)

    def _variable(self, name: str, function: Function, module: Module) -> None:
        """Note the texts of a list that a function makes bit by bit."""
        for node in module.inside(function):
            for target, value in assigned(node):
                if target == name and isinstance(value, (ast.List, ast.ListComp, ast.GeneratorExp, ast.Tuple, ast.IfExp)):
                    self._list(value, module)
            if isinstance(node, ast.Call) and ast.unparse(node.func) in (f"{name}.append", f"{name}.extend"):
                for argument in node.args:
                    self.nested(module, argument)

    # ---- values that callers give ----------------------------------------------------------------------------------------------

    def _follow(self, function: Function, name: str) -> None:
        """Note what the callers of a function give for a parameter that a user reads."""
        key = (function.name, name)
        if key in self._followed or (function.name.startswith("__") and function.name != "__init__"):
            return
        self._followed.add(key)
        names = parameters(function)
        shift = 1 if names and names[0] in ("self", "cls") else 0
        at = names.index(name) - shift
        defaults = dict(
            zip(
                reversed([a.arg for a in (*function.args.posonlyargs, *function.args.args)]), reversed(function.args.defaults), strict=False
            )
        )
        defaults |= {a.arg: d for a, d in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True) if d is not None}
        home = next(module for module, known in self.functions[function.name] if known is function)
        if name in defaults:
            self.nested(home, defaults[name])
        wanted = function.name
        if wanted == "__init__":
            around = home.around.get(function)
            wanted = around.name if isinstance(around, ast.ClassDef) else wanted
        positional = len(function.args.posonlyargs) + len(function.args.args) - shift
        for module, call in self.calls.get(wanted, []):
            if at < positional and len(call.args) > at and not any(isinstance(a, ast.Starred) for a in call.args[: at + 1]):
                self.nested(module, call.args[at])
            for keyword in call.keywords:
                if keyword.arg == name:
                    self.nested(module, keyword.value)

    def _follow_field(self, name: str) -> None:
        """Note what is given for a field of ours of that name."""
        if ("", name) in self._followed or name in ("name", "id", "path", "where", "kind", "text", "label", "engine", "source", "title"):
            return
        self._followed.add(("", name))
        for owner in self.fields.get(name, ()):
            for module, declared in self.classes[owner]:
                for target, value in (pair for statement in declared.body for pair in assigned(statement)):
                    if target == name:
                        self.nested(module, value)
            for module, call in self.calls.get(owner, []):
                for keyword in call.keywords:
                    if keyword.arg == name:
                        self.nested(module, keyword.value)


# ---- where users read ----------------------------------------------------------------------------------------------------------------


def _sinks(module: Module) -> Iterator[ast.expr]:
    """Yield the expressions of a file whose value a user reads."""
    commands = "cli" in module.path.parts
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call):
            name = called(node)
            if name in _ERRORS or (name == "__init__" and module.path.name == "errors.py"):
                yield from node.args[:1]
                yield from (keyword.value for keyword in node.keywords if keyword.arg in _FIELDS)
            elif name == "CandidateError":
                yield from node.args[1:2]
            elif name in _FIRST and node.args and not isinstance(node.args[0], ast.Starred):
                yield from node.args if name == "Table" else node.args[:2] if name == "echo" else node.args[:1]
            elif commands and name == "print" and isinstance(node.func, ast.Attribute):
                yield from node.args[:1]
            yield from (keyword.value for keyword in node.keywords if keyword.arg in _WORDS)
        elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and called(node.exc) == "ValueError":
            yield from node.exc.args[:1]
        elif commands and isinstance(node, Function) and is_command(node, module) and (text := ast.get_docstring(node)):
            yield from (ast.copy_location(ast.Constant(" ".join(paragraph.split())), node) for paragraph in text.split("\n\n"))


def is_command(function: Function, module: Module) -> bool:
    """Return whether a function is a command: registered by a decorator, or handed to ``app.command(...)``."""
    if any("command" in ast.unparse(decorator) for decorator in function.decorator_list):
        return True
    return any(
        isinstance(n, ast.Call)
        and isinstance(n.func, ast.Call)
        and called(n.func) == "command"
        and [a.id for a in n.args if isinstance(a, ast.Name)] == [function.name]
        for n in ast.walk(module.tree)
    )


# ---- small things --------------------------------------------------------------------------------------------------------------------


def modules_of(tree: ast.Module) -> set[str]:
    """Return the modules that a file imports whole: ``re.search`` is no call of a function ``search`` of ours."""
    return {alias.asname or alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}


def called(node: ast.Call) -> str:
    """Return the last name of what is called."""
    return node.func.id if isinstance(node.func, ast.Name) else node.func.attr if isinstance(node.func, ast.Attribute) else ""


def parameters(function: Function) -> list[str]:
    """Return the names of a function's parameters, in order."""
    arguments = function.args
    return [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]


def names_in(target: ast.expr) -> list[str]:
    """Return the names of a loop's target, in order."""
    return [n.id if isinstance(n, ast.Name) else "" for n in (target.elts if isinstance(target, ast.Tuple) else [target])]


def returns_text(function: Function) -> bool:
    """Return whether a function's annotation says that it gives a text."""
    return function.returns is not None and ast.unparse(function.returns).strip("'\"") in ("str", "str | None", "object")


def product(choices: Sequence[list[Parts]]) -> list[Parts]:
    """Return all texts that one choice of each part makes; over :data:`MOST` the choices become places."""
    size = 1
    for options in choices:
        size *= max(len(options), 1)
    if size > MOST:
        choices = [options if len(options) == 1 else [(Place(),)] for options in choices]
    return [joined(itertools.chain.from_iterable(parts)) for parts in itertools.product(*(options or [("",)] for options in choices))]


def joined(parts: Iterable[str | Place]) -> Parts:
    """Return parts with neighboring texts as one, and neighboring values as one."""
    made: list[str | Place] = []
    for part in parts:
        if made and isinstance(part, str) and isinstance(made[-1], str):
            made[-1] += part
        elif not (made and part == Place() == made[-1]):
            made.append(part)
    return tuple(made)


def unique(texts: Iterable[Parts]) -> list[Parts]:
    """Return each text once, in order."""
    return list(dict.fromkeys(texts))


def written(parts: Parts) -> str:
    """Return a template: values as ``{0}``, ``{1:,}``; braces of the text doubled."""
    numbers = itertools.count()
    shown = [
        part.replace("{", "{{").replace("}", "}}")
        if isinstance(part, str)
        else f"{{{next(numbers)}{':' + part.spec if part.spec else ''}}}"
        for part in parts
    ]
    return "".join(shown)


def says_something(parts: Parts) -> bool:
    """Return whether a text has words of a language, beside values, names, options, paths and signs."""
    text = " ".join(part for part in parts if isinstance(part, str))
    return bool(re.search(r"(?<![\w.<-])[^\W\d_]{2,}(?:-[^\W\d_]+)*(?![\w/=>-])", text))


def is_sentence(template: str) -> bool:
    """Return whether a template is more than one word or name: such a one may be told as it is."""
    return " " in template.strip() and not re.fullmatch(r"imbik [\w-]+|pip install \S+", template)


def missing(known: Iterable[str]) -> list[tuple[str, str]]:
    """Return (template, place) of the sentences of the source that a catalogue does not have, by place."""
    have = set(known)
    return sorted(((t, place) for t, place in House().templates().items() if is_sentence(t) and t not in have), key=lambda pair: pair[1])


def as_yaml(found: Iterable[tuple[str, str]]) -> str:
    """Return what to add to ``locale/messages.yaml``: the section, the English, and room for the other language.

    >>> print(as_yaml([("no column {0}", "imbik/data/columns.py:7")]))
    data:  # imbik/data/columns.py:7
      "no column {0}": ""
    """
    return "\n".join(f'{section(place)}:  # {place}\n  {json.dumps(text, ensure_ascii=False)}: ""' for text, place in found)


def section(place: str) -> str:
    """Return the package that a place is in."""
    return Path(place.split(":")[0]).parts[1].removesuffix(".py")


if __name__ == "__main__":
    from imbik.locale.messages import catalogue

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--missing", action="store_true", help="only those that locale/messages.yaml does not have, ready to be put there")
    if parser.parse_args().missing:
        sys.stdout.write(as_yaml(missing(catalogue())) + "\n")
    else:
        for template, where in sorted(House().templates().items(), key=lambda pair: pair[1]):
            sys.stdout.write(f"{where}\t{template!r}\n")
