"""The fields and conditions of a mapping, from their TOML."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final

from tieout.codecs.columns import text_of
from tieout.codecs.converters import CONVERTERS, Converter
from tieout.codecs.errors import DecodeError, nearest
from tieout.codecs.fields import (
    Condition,
    Field,
    choice,
    column,
    conditional,
    constant,
    finish,
    first_of,
    reference,
    template,
)
from tieout.codecs.problems import Problems
from tieout.codecs.scalars import Step
from tieout.codecs.values import parser_of
from tieout.reconcilers.entities import SOURCED, SYSTEMS, UNKNOWN, Attribute, Kind

SOURCES: Final = ("from", "const", "null", "template", "first_of")
COLUMN_KEYS: Final = ("from", "as", "enum", "otherwise", "ref", "required", "null_if", "allow_double", "when")
STATES: Final = ("null", "set", "changed")
_IS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "null": lambda value: value is None, "set": lambda value: value is not None,
}
CONDITION_KEYS: Final = ("column", "is", "in", "not_in", "reason")


def read_conditions(table: Mapping[str, Any], key: str, place: str, problems: Problems) -> tuple[Condition, ...]:
    """The conditions of `skip` or `delete`."""
    specs = problems.typed(f"{place}.{key}", table.get(key, []), list, [])
    found = [_condition(spec, f"{place}.{key}[{index}]", problems) for index, spec in enumerate(specs)]
    return tuple(condition for condition in found if condition is not None)


def _condition(spec: Any, place: str, problems: Problems) -> Condition | None:
    """{column, is = 'null'|'set'|'changed'} or {column, in = […]} or {column, not_in = […]}."""
    spec = problems.typed(place, spec, dict, {})
    problems.unknown(place, spec, CONDITION_KEYS)
    name = problems.typed(f"{place}.column", spec.get("column"), str, "")
    tests = [key for key in ("is", "in", "not_in") if key in spec]
    if len(tests) != 1:
        problems.add(place, f"found {' and '.join(tests) or 'no test'}, expected one of is, in, not_in")
        return None
    holds = _test(tests[0], spec[tests[0]], place, problems)
    reason = problems.typed(f"{place}.reason", spec.get("reason", name), str, name)
    return Condition(name, holds, reason, spec.get("is") == "changed")


def _test(kind: str, argument: Any, place: str, problems: Problems) -> Callable[[Any], bool]:
    """The test of one column's value."""
    if kind == "is":
        if argument not in STATES:
            problems.add(f"{place}.is", f"found {argument!r}, expected one of {', '.join(STATES)}")
        return _IS.get(str(argument), lambda value: True)
    members = _texts(argument, f"{place}.{kind}", problems)
    if kind == "in":
        return lambda value: value is not None and text_of(value) in members
    return lambda value: value is not None and text_of(value) not in members


def _texts(values: Any, place: str, problems: Problems) -> frozenset[str]:
    """Scalars of a TOML list as text."""
    found = []
    for value in problems.typed(place, values, list, []):
        try:
            found.append(text_of(_plain(value)))
        except DecodeError as error:
            problems.add(place, str(error))
    return frozenset(found)


def _plain(value: Any) -> Any:
    """A TOML value as JSON has it: dates and times are ISO text."""
    return value.isoformat() if isinstance(value, date | datetime) else value


def read_field(spec: Any, attribute: Attribute, place: str, problems: Problems) -> Field | None:
    """One field: 'COLUMN', or a table with one of from, const, template, first_of."""
    spec = {"from": spec} if isinstance(spec, str) else problems.typed(place, spec, dict, {})
    sources = [key for key in SOURCES if key in spec]
    if len(sources) != 1:
        problems.add(place, f"found {' and '.join(sources) or 'no source'}, expected one of {', '.join(SOURCES)}")
        return None
    if sources[0] != "from":
        problems.unknown(place, spec, [*sources, "when"])
    field = _READERS[sources[0]](spec, attribute, place, problems)
    if field is None or "when" not in spec:
        return field
    return conditional(field, read_conditions(spec, "when", place, problems))


def _first_of(spec: Mapping[str, Any], attribute: Attribute, place: str, problems: Problems) -> Field:
    """Alternatives, each a field."""
    alternatives = problems.typed(f"{place}.first_of", spec["first_of"], list, [])
    read = [read_field(each, attribute, f"{place}.first_of[{index}]", problems)
            for index, each in enumerate(alternatives)]
    return first_of([field for field in read if field is not None])


def _null(spec: Mapping[str, Any], attribute: Attribute, place: str, problems: Problems) -> Field:
    """Asserted null, where its `when` holds."""
    if spec["null"] is not True:
        problems.add(f"{place}.null", f"found {spec['null']!r}, expected true")
    return constant(None)


def _constant(spec: Mapping[str, Any], attribute: Attribute, place: str, problems: Problems) -> Field | None:
    """A constant, checked like a canonical value."""
    value = spec["const"]
    try:
        parsed = parser_of(attribute)(_plain(value))
    except DecodeError as error:
        problems.add(f"{place}.const", str(error))
        return None
    if attribute.members and parsed == UNKNOWN:
        problems.add(f"{place}.const", f"found {value!r}, expected one of {', '.join(attribute.members)}"
                                       f"{nearest(value, attribute.members)}")
    return constant(parsed)


def read_template(value: Any, place: str, problems: Problems) -> Field | None:
    """A template of columns."""
    try:
        return template(problems.typed(place, value, str, ""))
    except ValueError as error:
        problems.add(place, str(error))
        return None


def _text_template(spec: Mapping[str, Any], attribute: Attribute, place: str, problems: Problems) -> Field | None:
    """A template for an attribute, which must be text."""
    if attribute.kind is not Kind.TEXT:
        problems.add(f"{place}.template", f"gives text, the attribute is {attribute.kind.value}")
    return read_template(spec["template"], f"{place}.template", problems)


def _column_field(spec: Mapping[str, Any], attribute: Attribute, place: str, problems: Problems) -> Field:
    """A column with its converters, enum table or reference."""
    converters = _converters(spec.get("as", []), f"{place}.as", problems)
    params = [param for _, converter in converters for param in converter.params]
    problems.unknown(place, spec, [*COLUMN_KEYS, *params])
    steps = [step for name, converter in converters if (step := _step(name, converter, spec, place, problems))]
    steps += _last_steps(spec, attribute, [converter for _, converter in converters], place, problems)
    field = column(
        problems.typed(f"{place}.from", spec["from"], str, ""), steps,
        _texts(spec.get("null_if", []), f"{place}.null_if", problems),
        required=problems.typed(f"{place}.required", spec.get("required", False), bool, False),
    )
    columns = {str(spec[param]) for param in params if param.endswith("_from") and param in spec}
    return Field(field.evaluate, field.reads | columns)


def _converters(names: Any, place: str, problems: Problems) -> list[tuple[str, Converter]]:
    """The named converters: one name or a list of them."""
    found = []
    for name in [names] if isinstance(names, str) else problems.typed(place, names, list, []):
        if isinstance(name, str) and name in CONVERTERS:
            found.append((name, CONVERTERS[name]))
        else:
            problems.add(place, f"found {name!r}, expected one of {', '.join(CONVERTERS)}"
                                f"{nearest(str(name), list(CONVERTERS))}")
    return found


def _step(name: str, converter: Converter, spec: Mapping[str, Any], place: str, problems: Problems) -> Step | None:
    """A converter, built."""
    try:
        return converter.build(spec)
    except ValueError as error:
        problems.add(place, f"{name}: {error}")
        return None


def _last_steps(spec: Mapping[str, Any], attribute: Attribute, converters: Sequence[Converter], place: str,
                problems: Problems) -> list[Step]:
    """What follows the converters: the enum table or the reference, then the check of the attribute's kind."""
    if "ref" in spec:
        return [_reference(spec["ref"], attribute, f"{place}.ref", problems)]
    if "enum" in spec:
        return [_choice(spec, attribute, place, problems)]
    gives = converters[-1].gives if converters else None
    if gives is not None and gives is not attribute.kind:
        problems.add(f"{place}.as", f"{spec['as']!r} gives {gives.value}, the attribute is {attribute.kind.value}")
    if gives is None and attribute.kind in (Kind.RATE, Kind.MONEY):
        problems.add(place, f"expected as = '{attribute.kind.value}' with its currency")
    return [finish(attribute)]


def _choice(spec: Mapping[str, Any], attribute: Attribute, place: str, problems: Problems) -> Step:
    """An enum table; an enumeration takes UNKNOWN for what is not in it, other attributes refuse."""
    table = problems.typed(f"{place}.enum", spec["enum"], dict, {})
    results = {f"{place}.enum.{key}": value for key, value in table.items()}
    if "otherwise" in spec:
        results[f"{place}.otherwise"] = spec["otherwise"]
    if attribute.kind not in (Kind.TEXT, Kind.BOOL, Kind.INT):
        problems.add(f"{place}.enum", f"gives text, bool or int, the attribute is {attribute.kind.value}")
        return choice(table)
    parse = parser_of(attribute)
    for key, value in results.items():
        try:
            if attribute.members and value != UNKNOWN and parse(value) == UNKNOWN:
                problems.add(key, f"found {value!r}, expected one of {', '.join(attribute.members)}"
                                  f"{nearest(value, attribute.members)}")
            parse(value)
        except DecodeError as error:
            problems.add(key, str(error))
    if "otherwise" in spec:
        return choice(table, spec["otherwise"])
    return choice(table, UNKNOWN) if attribute.members else choice(table)


def _reference(spec: Any, attribute: Attribute, place: str, problems: Problems) -> Step:
    """{entity = 'project', system = 'PSA'}: the system only where it is not the row's own."""
    spec = problems.typed(place, spec, dict, {})
    problems.unknown(place, spec, ("entity", "system"))
    entity, system = spec.get("entity"), spec.get("system")
    if entity not in SOURCED:
        problems.add(f"{place}.entity", f"found {entity!r}, no such entity{nearest(str(entity), list(SOURCED))}")
    if system is not None and system not in SYSTEMS:
        problems.add(f"{place}.system", f"found {system!r}, expected one of {', '.join(SYSTEMS)}")
    if attribute.kind is not Kind.TEXT:
        problems.add(place, f"a reference gives text, the attribute is {attribute.kind.value}")
    return reference(str(entity), system)


_READERS: Final[Mapping[str, Callable[[Mapping[str, Any], Attribute, str, Problems], Field | None]]] = {
    "from": _column_field, "const": _constant, "null": _null, "template": _text_template, "first_of": _first_of,
}
