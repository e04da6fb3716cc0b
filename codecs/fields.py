"""The parts of a mapping that read a row: fields, templates and conditions, compiled to functions.

A field gives its attribute's value, None for asserted null, or `Missing` when the row does not say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from string import Formatter
from typing import Any, Final, NamedTuple

from tieout.codecs.columns import Missing, Row, text_of
from tieout.codecs.errors import BadValue, DecodeError, MissingColumn, shown
from tieout.codecs.scalars import Step, day_of, instant_of, int_of
from tieout.codecs.values import PARSERS, parser_of
from tieout.reconcilers.entities import Attribute, Kind

Evaluate = Callable[[Row], Any]


class Field(NamedTuple):
    """How an attribute's value is made of a row, the columns that it reads, and its alternatives where it has some."""

    evaluate: Evaluate
    reads: frozenset[str] = frozenset()
    ways: tuple[frozenset[str], ...] = ()

    def loses(self, column: str, present: Set[str]) -> bool:
        """Whether it read `column` and no alternative is left whose columns are all there."""
        return column in self.reads and not any(way <= present for way in self.ways or (self.reads,))


CHANGED: Final = "@changed"  # in a row: the names of the columns that changed; not there, or None, when it is whole


class Condition(NamedTuple):
    """A test of one column; `reason` names it in counts."""

    column: str
    holds: Callable[[Any], bool]
    reason: str
    changed: bool = False  # and it must be among the columns that changed

    def __call__(self, row: Row) -> bool:
        """True when the row has the column and its value passes."""
        value = row.get(self.column, Missing.ABSENT)
        if isinstance(value, Missing) or not self.holds(value):
            return False
        changed = row.get(CHANGED) if self.changed else None
        return changed is None or self.column in changed


def constant(value: Any) -> Field:
    """The same value for every row."""
    return Field(lambda row: value)


def conditional(field: Field, conditions: Sequence[Condition]) -> Field:
    """The field where all conditions hold; elsewhere the row does not say."""

    def evaluate(row: Row) -> Any:
        return field.evaluate(row) if all(condition(row) for condition in conditions) else Missing.ABSENT

    tested = {condition.column for condition in conditions}
    return Field(evaluate, field.reads | tested, tuple(way | tested for way in field.ways or (field.reads,)))


def column(name: str, steps: Sequence[Step], null_if: frozenset[str] = frozenset(), *, required: bool = False) -> Field:
    """A column through its converters; values whose text is in `null_if` are null."""

    def evaluate(row: Row) -> Any:
        value = row.get(name, Missing.ABSENT)
        if isinstance(value, Missing):
            if required and value is Missing.ABSENT:
                raise MissingColumn(f"expected column {name!r}, found {', '.join(sorted(row)) or 'none'}")
            return value
        try:
            return None if value is None or _is_null(value, null_if) else _through(steps, value, row)
        except DecodeError as error:
            raise error.within(f"column {name}") from None

    return Field(evaluate, frozenset((name,)))


def _is_null(value: Any, null_if: frozenset[str]) -> bool:
    """Whether a value is one of those that mean null; a float has no exact text, and is none of them."""
    return bool(null_if) and type(value) is not float and text_of(value) in null_if


def _through(steps: Sequence[Step], value: Any, row: Row) -> Any:
    """The value after all steps; one that is null or missing on the way stays so."""
    for step in steps:
        value = step(value, row)
        if value is None or isinstance(value, Missing):
            break
    return value


def first_of(fields: Sequence[Field]) -> Field:
    """The first alternative that has a value; null when one is null; unknown as soon as one is unavailable."""

    def evaluate(row: Row) -> Any:
        found: Any = Missing.ABSENT
        for field in fields:
            value = field.evaluate(row)
            if value is Missing.UNAVAILABLE:
                return value
            if value is None:
                found = None
            elif value is not Missing.ABSENT:
                return value
        return found

    ways = tuple(way for field in fields for way in (field.ways or (field.reads,)))
    return Field(evaluate, frozenset().union(*(field.reads for field in fields)), ways)


def template(text: str) -> Field:
    """'{DATAAREAID}:{TRANSID}' filled from the row; missing or null when one of its columns is. ValueError if bad."""
    parts = _template_parts(text)
    reads = frozenset(name for _, name in parts if name)

    def evaluate(row: Row) -> Any:
        for name in reads:
            value = row.get(name, Missing.ABSENT)
            if value is None or isinstance(value, Missing):
                return value
        return "".join(literal + (text_of(row[name]) if name else "") for literal, name in parts)

    return Field(evaluate, reads)


def _template_parts(text: str) -> list[tuple[str, str | None]]:
    """Literals and the column after each; ValueError for anything but plain {column} placeholders."""
    parts: list[tuple[str, str | None]] = []
    for literal, name, form, conversion in Formatter().parse(text):
        if name == "" or form or conversion:
            raise ValueError(f"found {text!r}, expected placeholders like {{COLUMN}}")
        parts.append((literal, name))
    return parts


def choice(table: Mapping[str, Any], *otherwise: Any) -> Step:
    """A value by the text of the column; what is not in the table is `otherwise`, or refused when there is none."""

    def step(value: Any, row: Row) -> Any:
        text = text_of(value)
        if text in table:
            return table[text]
        if otherwise:
            return otherwise[0]
        raise BadValue(f"found {shown(text)}, expected one of {', '.join(table)}",
                       "add it to the field's enum table, or say what everything else means with otherwise")

    return step


def reference(entity: str, system: str | None) -> Step:
    """The id of a record in its source, for identity resolution to replace by the business key.

    {"$ref": [entity, source id]} means a record of the same source, {"$ref": [entity, source id, system]} one of
    another system.
    """
    tail = [] if system is None else [system]
    return lambda value, row: {"$ref": [entity, text_of(value), *tail]}


def is_reference(value: Any) -> bool:
    """True for what `reference` makes."""
    return type(value) is dict and "$ref" in value


def finish(attribute: Attribute) -> Step:
    """The last step of a field: the value is what a change carries, or BadValue."""
    if attribute.kind is Kind.TEXT:
        parse = parser_of(attribute)
        return lambda value, row: value if is_reference(value) else parse(str(value) if type(value) is int else value)
    plain = _FINISH.get(attribute.kind) or PARSERS[attribute.kind]
    if attribute.kind in (Kind.RATE, Kind.MONEY):
        return lambda value, row: value  # their converters give nothing else
    return lambda value, row: plain(value)


def _plain_json(value: Any) -> Any:
    """JSON that every reader reads: exact numbers and integers beyond 64 bits are text."""
    if type(value) is dict:
        return {name: _plain_json(inner) for name, inner in value.items()}
    if type(value) is list:
        return [_plain_json(inner) for inner in value]
    is_wide = type(value) is int and not -(2**63) <= value < 2**63
    return text_of(value) if is_wide or type(value) not in (str, int, bool, float, type(None)) else value


_FINISH: Final[Mapping[Kind, Callable[[Any], Any]]] = {
    Kind.DATE: day_of, Kind.INSTANT: instant_of, Kind.INT: int_of, Kind.JSON: _plain_json,
}
