"""The walk of the teacher through ``compress()``, read from the source without running it.

How it counts. The walk begins in ``compress()`` with its parameter ``teacher`` and follows, in the order in which they are written, all
calls that pass the teacher on: an argument, or the object whose method is called, is the teacher, its ``.model``, or an object that
was given the teacher when it was made (``Run``, a plan; formerly ``Builder``), provided that the function then takes the teacher out of
that object, itself or through what it calls. Every call is followed as often as it is written, in all branches; a function that is on
the way already is not entered again (recursion). A property of such an object counts like a call; a cached one the first time only, for
it is computed once. An abstract method stands for all classes that have it. ``Method.apply`` ends the walk: what a method does with its
teacher is a walk of its own. So does ``EngineBuilder.build``, of which one of several runs: what a builder does with a model is a walk of
its own (at 401e489 it was reached through a module looked up by its name, which is not followed either). So does ``LinearStudents.make``,
which is to the student without a network what a method is to the others.

* A *stay* is a visit to one file: a call into another file than the one where the walk is. Calls within a file are no new stay.
* A *return* is a stay in a file that the walk had left before.
* A *climb* is a stay on a higher floor (``layout.FLOORS``) than the stay before it.

``python tests/house/walk.py [SOURCE]`` prints the stays; SOURCE is the folder ``imbik``, by default the one beside these tests.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "imbik"
Function = ast.FunctionDef | ast.AsyncFunctionDef
ENDS = {("EngineBuilder", "build"), ("LinearStudents", "make")}
"""Methods (class, name) that end the walk."""


@dataclass(frozen=True)
class Place:
    """A function or class in a module."""

    module: str
    name: str


@dataclass
class Module:
    """What one file defines and imports."""

    name: str
    tree: ast.Module
    functions: dict[str, Function] = field(default_factory=dict)
    classes: dict[str, ast.ClassDef] = field(default_factory=dict)
    imported: dict[str, Place] = field(default_factory=dict)


class House:
    """All modules of a source folder, with names resolved across them."""

    def __init__(self, source: Path) -> None:
        self.modules: dict[str, Module] = {}
        for path in sorted(source.rglob("*.py")):
            parts = path.relative_to(source.parent).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            self.modules[name] = _module(name, ast.parse(path.read_text("utf-8")))

    def resolve(self, module: str, name: str) -> Place | None:
        """Return the function or class of the house that a name means in a module."""
        for _ in range(5):  # a name that is handed on from file to file
            here = self.modules.get(module)
            if here is None:
                return None
            if name in here.functions or name in here.classes:
                return Place(module, name)
            if name not in here.imported:
                return None
            module, name = here.imported[name].module, here.imported[name].name
        return None

    def function(self, place: Place) -> Function | None:
        return self.modules[place.module].functions.get(place.name)

    def class_(self, place: Place | None) -> ast.ClassDef | None:
        return self.modules[place.module].classes.get(place.name) if place else None

    def member(self, place: Place, name: str) -> tuple[Place, Function] | None:
        """Return a method of a class, its own or inherited, with the class that has it."""
        node = self.class_(place)
        if node is None:
            return None
        for entry in node.body:
            if isinstance(entry, Function) and entry.name == name:
                return place, entry
        for base in node.bases:
            above = self.resolve(place.module, base.id) if isinstance(base, ast.Name) else None
            if above is not None and (found := self.member(above, name)):
                return found
        return None

    def above(self, place: Place) -> Iterator[Place]:
        """Yield the classes that a class inherits from."""
        node = self.class_(place)
        for base in node.bases if node else ():
            if isinstance(base, ast.Name) and (found := self.resolve(place.module, base.id)):
                yield found
                yield from self.above(found)

    def below(self, place: Place) -> Iterator[Place]:
        """Yield the classes that inherit from a class."""
        for module in self.modules.values():
            for name, node in module.classes.items():
                bases = [self.resolve(module.name, base.id) for base in node.bases if isinstance(base, ast.Name)]
                if place in bases:
                    yield Place(module.name, name)
                    yield from self.below(Place(module.name, name))

    def fields(self, place: Place) -> dict[str, ast.expr]:
        """Return the annotated attributes of a class, inherited ones first, in their order."""
        node, found = self.class_(place), {}
        if node is None:
            return {}
        for base in node.bases:
            above = self.resolve(place.module, base.id) if isinstance(base, ast.Name) else None
            found |= self.fields(above) if above is not None else {}
        return found | {e.target.id: e.annotation for e in node.body if isinstance(e, ast.AnnAssign) and isinstance(e.target, ast.Name)}


def _module(name: str, tree: ast.Module) -> Module:
    found = Module(name, tree)
    for node in tree.body:
        if isinstance(node, Function):
            found.functions[node.name] = node
        elif isinstance(node, ast.ClassDef):
            found.classes[node.name] = node
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").startswith("imbik"):
            for alias in node.names:
                found.imported[alias.asname or alias.name] = Place(str(node.module), alias.name)
    return found


@dataclass
class Step:
    """One function on the walk.

    Attributes:
        touched: it was given the teacher itself, or takes it out of an object.
        inside: the calls in it that were followed.
    """

    module: str
    name: str
    touched: bool = False
    inside: list[Step] = field(default_factory=list)

    def passes(self) -> bool:
        return self.touched or any(step.passes() for step in self.inside)

    def flat(self, depth: int) -> Iterator[tuple[int, Step]]:
        yield depth, self
        for step in self.inside:
            if step.passes():
                yield from step.flat(depth + 1)


@dataclass
class Value:
    """What the walk knows of a value: its class, and whether it is the teacher or was given it."""

    type: Place | None = None
    teacher: bool = False
    holder: bool = False

    @property
    def followed(self) -> bool:
        return self.teacher or self.holder


class Walk:
    """The stays, in their order."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.root = Step("", "")
        self._open: list[tuple[Place, str]] = []
        self._way = [self.root]
        self._once: set[tuple[Place, str]] = set()
        self._held: dict[Place, dict[str, Value]] = {}

    def enter(self, place: Place, name: str, node: Function, values: dict[str, Value]) -> Value:
        """Walk through a function; return what it gives back."""
        if (place, name) in self._open:
            return self._returned(place, node, values)
        step = Step(place.module, name, touched=any(value.teacher for value in values.values()))
        self._way[-1].inside.append(step)
        self._way.append(step)
        self._open.append((place, name))
        body = _Body(self, place, node, values)
        for statement in node.body:
            body.visit(statement)
        self._open.pop()
        self._way.pop()
        return body.result if body.result.followed or body.result.type else self._returned(place, node, values)

    def touch(self) -> None:
        """Note that the function on the way takes the teacher out of an object."""
        self._way[-1].touched = True

    def steps(self) -> list[tuple[int, Step]]:
        """Return all functions of the walk with their depth, in their order."""
        return list(self.root.flat(-1))[1:]

    def stays(self) -> list[str]:
        """Return the files of the walk in their order, one entry for each time that it goes on in another file."""
        files = [step.module for _, step in self.steps()]
        return [file for number, file in enumerate(files) if number == 0 or files[number - 1] != file]

    def _returned(self, place: Place, node: Function, values: dict[str, Value]) -> Value:
        own = values.get("self")
        if isinstance(node.returns, ast.Name) and node.returns.id == "Self" and own:
            return own
        return Value(self.annotated(place.module, node.returns))

    def annotated(self, module: str, annotation: ast.expr | None) -> Place | None:
        """Return the class of the house that an annotation names."""
        for part in ast.walk(annotation) if annotation is not None else ():
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                part = ast.Name(part.value)
            if isinstance(part, ast.Name) and (place := self.house.resolve(module, part.id)) and self.house.class_(place):
                return place
        return None

    def held(self, place: Place) -> dict[str, Value]:
        """Return what objects of a class were given."""
        return self._held.setdefault(place, {})


class _Body(ast.NodeVisitor):
    """One function on the walk: its variables, and its calls in the order in which they are written."""

    def __init__(self, walk: Walk, place: Place, node: Function, values: dict[str, Value]) -> None:
        self.walk, self.place, self.values = walk, place, dict(values)
        self.house, self.result = walk.house, Value()
        for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs):
            known = self.values.setdefault(argument.arg, Value())
            named = walk.annotated(place.module, argument.annotation)
            known.type = named if named and (known.type is None or known.type in self.house.above(named)) else known.type
            known.holder |= known.type is not None and any(value.followed for value in walk.held(known.type).values())

    # statements that give names to values

    def visit_Assign(self, node: ast.Assign) -> None:
        value = self.value(node.value)
        for target in node.targets:
            self._name(target, node.value, value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            value = self.value(node.value)
            value.type = value.type or self.walk.annotated(self.place.module, node.annotation)
            self._name(node.target, node.value, value)

    def visit_Return(self, node: ast.Return) -> None:
        if node.value is not None:
            value = self.value(node.value)
            self.result = value if value.followed or not self.result.followed else self.result

    def visit_For(self, node: ast.For) -> None:
        self._name(node.target, node.iter, self.value(node.iter))
        for statement in (*node.body, *node.orelse):
            self.visit(statement)

    def visit_With(self, node: ast.With) -> None:
        for item in node.items:
            value = self.value(item.context_expr)
            if item.optional_vars is not None:
                self._name(item.optional_vars, item.context_expr, value)
        for statement in node.body:
            self.visit(statement)

    def visit_Match(self, node: ast.Match) -> None:
        self.value(node.subject)
        for case in node.cases:
            for statement in case.body:
                self.visit(statement)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        for statement in node.body:
            self.visit(statement)

    def visit_Expr(self, node: ast.Expr) -> None:
        self.value(node.value)

    def generic_visit(self, node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.value(child)
            else:
                self.visit(child)

    def _name(self, target: ast.expr, source: ast.expr, value: Value) -> None:
        if isinstance(target, ast.Tuple | ast.List):
            sources = source.elts if isinstance(source, ast.Tuple) and len(source.elts) == len(target.elts) else []
            for index, part in enumerate(target.elts):
                self._name(part, source, self.look(sources[index]) if sources else Value())
        elif isinstance(target, ast.Name):
            self.values[target.id] = value
        elif isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self":
            own = self.values.get("self", Value()).type
            if own is not None:
                self.walk.held(own)[target.attr] = value
                self.values["self"].holder |= value.followed

    # expressions

    def value(self, node: ast.expr) -> Value:
        """Walk through an expression; return what is known of it."""
        if isinstance(node, ast.Call):
            return self.call(node)
        if isinstance(node, ast.Attribute):
            return self.attribute(node)
        if isinstance(node, ast.Name):
            return self.look(node)
        if isinstance(node, ast.IfExp):
            self.value(node.test)
            one, other = self.value(node.body), self.value(node.orelse)
            return one if one.followed or one.type else other
        if isinstance(node, ast.BoolOp):
            values = [self.value(part) for part in node.values]
            return next((value for value in values if value.followed or value.type), Value())
        if isinstance(node, ast.ListComp | ast.GeneratorExp | ast.SetComp | ast.DictComp):
            for generator in node.generators:
                self._name(generator.target, generator.iter, self.value(generator.iter))
                for test in generator.ifs:
                    self.value(test)
            parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
            return [self.value(part) for part in parts][-1]
        if isinstance(node, ast.Lambda):
            return self.value(node.body)
        if isinstance(node, ast.NamedExpr):
            value = self.value(node.value)
            self._name(node.target, node.value, value)
            return value
        elements = [self.value(child) for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
        if isinstance(node, ast.Tuple | ast.List | ast.Starred | ast.Subscript | ast.Await):
            return next((value for value in elements if value.followed), Value())
        return Value()

    def look(self, node: ast.expr) -> Value:
        """Return what is known of a name or attribute, without walking."""
        if isinstance(node, ast.Name):
            known = self.values.get(node.id)
            return Value(known.type, known.teacher, known.holder) if known else Value()
        if isinstance(node, ast.Attribute):
            base = self.look(node.value)
            if base.teacher:
                return Value(teacher=True) if node.attr == "model" else Value()
            if base.type is not None:
                held = self.walk.held(base.type).get(node.attr)
                named = self.walk.annotated(base.type.module, self.house.fields(base.type).get(node.attr))
                if held is not None and base.followed:
                    if held.teacher:
                        self.walk.touch()
                    return Value(named or held.type, held.teacher, held.holder)
                if node.attr == "teacher" and base.followed:
                    self.walk.touch()
                return Value(named, teacher=node.attr == "teacher" and base.followed)
        return Value()

    def attribute(self, node: ast.Attribute) -> Value:
        """Walk through a property; return what is known of any attribute."""
        base = self.value(node.value)
        member = self.house.member(base.type, node.attr) if base.type is not None and base.followed else None
        if member is None:
            return self.look(node)
        place, function = member
        kinds = _decorators(function)
        if not kinds & {"property", "cached_property"}:
            return Value()
        if "cached_property" in kinds:
            if (place, node.attr) in self.walk._once:
                return self.walk._returned(place, function, {})
            self.walk._once.add((place, node.attr))
        return self._enter(place, node.attr, function, {"self": base})

    def call(self, node: ast.Call) -> Value:
        """Walk through the arguments, then through the function that is called."""
        receiver = self.value(node.func.value) if isinstance(node.func, ast.Attribute) else Value()
        positional = [self.value(argument) for argument in node.args]
        named = {keyword.arg: self.value(keyword.value) for keyword in node.keywords if keyword.arg}
        given = [*positional, *named.values()]
        if isinstance(node.func, ast.Name) and node.func.id == "replace" and positional:
            return positional[0]
        if isinstance(node.func, ast.Name):
            place = self.house.resolve(self.place.module, node.func.id)
            if place is None or not any(value.followed for value in given):
                return Value(place if self.house.class_(place) else None)
            function = self.house.function(place)
            if function is not None:
                return self._enter(place, node.func.id, function, _bound(function, positional, named, None))
            return self._construct(place, positional, named)
        if not isinstance(node.func, ast.Attribute):
            return Value()
        return self._method(node.func, receiver, positional, named, any(value.followed for value in given))

    def _method(self, node: ast.Attribute, receiver: Value, positional: list[Value], named: dict[str, Value], given: bool) -> Value:
        named_class = self.house.resolve(self.place.module, node.value.id) if isinstance(node.value, ast.Name) else None
        owner = named_class if self.house.class_(named_class) else receiver.type
        if owner is None or not (given or receiver.followed):
            return Value()
        member = self.house.member(owner, node.attr)
        if member is None:
            return Value()
        place, function = member
        if (place.name, node.attr) in ENDS:
            return self.walk._returned(place, function, {})
        if "abstractmethod" in _decorators(function):
            return self._abstract(place, node.attr, function, receiver, positional, named)
        receiver = Value(owner) if named_class else Value(receiver.type, receiver.teacher, receiver.holder)
        value = self._enter(place, f"{place.name}.{node.attr}", function, _bound(function, positional, named, receiver))
        if named_class and given and not value.followed and value.type == owner:
            value.teacher = any(one.teacher for one in positional) and "teacher" in owner.name.lower()
            value.holder = not value.teacher
        return value

    def _abstract(
        self, place: Place, name: str, function: Function, receiver: Value, positional: list[Value], named: dict[str, Value]
    ) -> Value:
        """Walk through all classes that have an abstract method."""
        together = self.walk._returned(place, function, {})
        for below in self.house.below(place):
            own = self.house.member(below, name)
            if own is not None and own[0] == below:
                self.walk.held(below).update({k: v for k, v in self.walk.held(place).items() if k not in self.walk.held(below)})
                values = _bound(own[1], positional, named, Value(below, receiver.teacher, receiver.holder))
                value = self._enter(below, f"{below.name}.{name}", own[1], values)
                together.holder |= value.followed
        return together

    def _construct(self, place: Place, positional: list[Value], named: dict[str, Value]) -> Value:
        held = self.walk.held(place)
        own = Value(place, holder=True)
        member = self.house.member(place, "__init__")
        if member is not None:
            self._enter(member[0], f"{place.name}.__init__", member[1], _bound(member[1], positional, named, own))
            return own
        fields = list(self.house.fields(place))
        held |= {name: value for name, value in zip(fields, positional, strict=False) if value.followed}
        held |= {name: value for name, value in named.items() if value.followed}
        return own

    def _enter(self, place: Place, name: str, function: Function, values: dict[str, Value]) -> Value:
        value = self.walk.enter(place, name, function, values)
        return value


def _decorators(function: Function) -> set[str]:
    return {name.id if isinstance(name, ast.Name) else getattr(name, "attr", "") for name in function.decorator_list}


def _bound(function: Function, positional: list[Value], named: dict[str, Value], receiver: Value | None) -> dict[str, Value]:
    names = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
    values = [*([receiver] if receiver is not None else []), *positional]
    return dict(zip(names, values, strict=False)) | named


@dataclass(frozen=True)
class Count:
    """The measures of a walk, see the module's text."""

    stays: int
    files: int
    climbs: int
    returns: int


def walk(source: Path = SOURCE, start: str = "compress.run") -> Walk:
    """Follow the teacher from ``compress()`` in a module."""
    house = House(source)
    place = Place(f"imbik.{start}", "compress")
    function = house.function(place)
    assert function is not None, place
    found = Walk(house)
    found.enter(place, "compress", function, {"teacher": Value(teacher=True)})
    return found


def count(found: Walk, floors: dict[str, int]) -> Count:
    """Count stays, files, climbs and returns; a floor is looked up by the room."""
    stays = found.stays()
    rooms = [name.split(".")[1] for name in stays]
    climbs = sum(floors[later] > floors[earlier] for earlier, later in pairwise(rooms))
    return Count(len(stays), len(set(stays)), climbs, len(stays) - len(set(stays)))


def most_visited(found: Walk) -> Iterator[tuple[str, int]]:
    """Yield the files by the number of stays."""
    yield from Counter(found.stays()).most_common()


if __name__ == "__main__":
    from layout import FLOORS

    old = len(sys.argv) > 2  # an older commit, whose start is named: flat modules have no floors
    here = walk(Path(sys.argv[1]) if len(sys.argv) > 1 else SOURCE, sys.argv[2] if old else "compress.run")
    lines = [f"{'  ' * depth}{step.module}: {step.name}" for depth, step in here.steps()]
    levels = {name: number for number, names in enumerate(FLOORS) for name in names}
    floors = levels if not old else dict.fromkeys({name.split(".")[1] for name in here.stays()}, 0)
    sys.stdout.write("\n".join([*lines, str(dict(most_visited(here))), str(count(here, floors))]) + "\n")
