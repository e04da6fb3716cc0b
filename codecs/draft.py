"""A first mapping from a sample: guesses by names and values, for a person to go on from.

Each guess is tried on the sample; what does not hold is left out. Columns that no attribute took stand in a comment
with their values. What a guess cannot know stays visible: enumerations have only the sample's symbol.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

from tieout.codecs.draft_words import REFERENCES, TABLE_WORDS, WORDS
from tieout.codecs.errors import CodecError
from tieout.codecs.mapping import parse
from tieout.codecs.sample import Sample
from tieout.reconcilers.entities import SOURCED, UNKNOWN, Attribute, Entity, Kind

_OURS: Final = ("salesforce-cdc", "dataverse", "cloudevents", "row")  # formats whose rows have @id, @commit, @system
_ISO_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d([T ].*)?")
_ZONED: Final = re.compile(r".*([Zz]|[+-]\d\d:?\d\d)")
_CLOCK: Final = re.compile(r"\d+:[0-5]\d(:[0-5]\d)?")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_ID: Final = re.compile(r"\d+|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|(?=.*\d)[A-Za-z0-9]{15}([A-Z0-5]{3})?")
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_SHOWN: Final = 40


class Guess(NamedTuple):
    """A field of the draft: its TOML and the columns that it reads."""

    attribute: str
    toml: str
    reads: frozenset[str] = frozenset()


def draft(sample: Sample, name: str, system: str, entity: str | None = None) -> str:
    """The TOML of a mapping that loads and reads the sample; ValueError when no entity fits."""
    if sample.format == "canonical":
        raise ValueError("found a canonical event, which needs no mapping: set format = \"canonical\" for its source")
    problem = ""
    for chosen in [SOURCED[entity]] if entity else _likeliest(sample):
        guesses = list(_guesses(sample, chosen, system))
        missing = [key for key in chosen.key if key not in {each.attribute for each in guesses}]
        if not any(each.reads & sample.columns.keys() for each in guesses):
            missing = missing or [*chosen.attributes]
        if not missing:
            return _write(sample, name, chosen, guesses)
        problem = problem or (f"{chosen.name}: found no column for {', '.join(missing)} among "
                              f"{', '.join(sample.columns) or 'none'}; name another entity, or write it by hand")
    raise ValueError(problem)


def _likeliest(sample: Sample) -> list[Entity]:
    """The entities that columns or the table's name speak for, the likeliest first; key columns count double."""

    def score(entity: Entity) -> int:
        found = [name for name in entity.attributes if _column(sample, name)]
        words = (entity.name, *TABLE_WORDS.get(entity.name, ()))
        named = any(_plain(word) in _plain(sample.table) for word in words)
        return len(found) + sum(name in entity.key for name in found) + 4 * named

    ranked = sorted(SOURCED.values(), key=score, reverse=True)
    return [entity for entity in ranked if score(entity) > 2] or ranked[:1]


def _column(sample: Sample, attribute: str) -> str | None:
    """The column that sounds like an attribute."""
    words = [_plain(word) for word in (attribute, *WORDS.get(attribute, ()))]
    whole = {_plain(column): column for column in reversed(sample.columns)}
    last = {_plain(column.rpartition(".")[2]): column for column in reversed(sample.columns)}
    return next((names[word] for names in (whole, last) for word in words
                 if word in names and (names is whole or word != "id")), None)


def _plain(name: str) -> str:
    """A name without what vendors put around it."""
    bare = name.lower().removesuffix("__c")
    return re.sub(r"[^a-z0-9]", "", re.sub(r"^(pse__|msdyn_|new_)", "", bare))


def _guesses(sample: Sample, entity: Entity, system: str) -> Iterator[Guess]:
    """A guess for each attribute that something speaks for, and that reads the sample."""
    for name, attribute in entity.attributes.items():
        toml = _guess(sample, entity, name, attribute, system)
        reads = None if toml is None else _reads(sample, entity, name, toml)
        if toml is not None and reads is not None:
            yield Guess(name, toml, reads)


def _guess(sample: Sample, entity: Entity, name: str, attribute: Attribute, system: str) -> str | None:
    """The TOML of an attribute's field."""
    ours, own = sample.format in _OURS, _id_column(sample)
    if name == "origin_system":
        return '"@system"' if ours else f'{{ const = "{system}" }}'
    column = _column(sample, name)
    toml = None if column is None else _field(sample, entity, name, column)
    if toml is None and attribute.kind is Kind.TEXT and {*entity.key} <= {name, "origin_system"} and name in entity.key:
        return '"@id"' if ours and own is None else f'{{ from = {_text(own or "id")}, as = "text" }}'
    return toml


def _id_column(sample: Sample) -> str | None:
    """The column of the record's id: called so, or the first where its name ends so."""
    named = [column for column in sample.columns if _plain(column) in ("id", "recid")]
    bare = [*sample.columns][:1] if sample.format == "row" else []
    first = [column for column in bare if _plain(column).endswith("id") and "." not in column]
    return next(iter([*named, *first]), None)


def _field(sample: Sample, entity: Entity, name: str, column: str) -> str | None:
    """The TOML of a field, None when the value cannot be one."""
    attribute, value = entity.attributes[name], sample.columns[column]
    if name in REFERENCES and REFERENCES[name] != entity.name and _is_id(value):
        return _with(column, f'ref = {{ entity = "{REFERENCES[name]}" }}')
    if attribute.members:
        return _enumeration(attribute, column, value)
    build = _BY_KIND.get(attribute.kind)
    return build(sample, name, column, value) if build else None


def _enumeration(attribute: Attribute, column: str, value: Any) -> str | None:
    """An enum table with the symbol of the sample."""
    if type(value) not in (str, int, bool):
        return None
    symbol = str(value).lower() if type(value) is bool else str(value)
    member = next((each for each in attribute.members if _plain(each) == _plain(symbol)), UNKNOWN)
    return f'{{ from = {_text(column)}, enum = {{ {_text(symbol)} = "{member}" }} }}'


def _of_text(sample: Sample, name: str, column: str, value: Any) -> str | None:
    """Text."""
    if name in ("project_code", "note_hash"):
        return _with(column, 'as = "project_code"' if name == "project_code" else 'as = "hash"')
    return _with(column, 'as = "text"') if type(value) is int else _with(column) if type(value) is str else None


def _is_id(value: Any) -> bool:
    """Whether a value is the id of a record rather than what people call it."""
    return type(value) is int or (type(value) is str and _ID.fullmatch(value) is not None)


def _of_int(sample: Sample, name: str, column: str, value: Any) -> str | None:
    """Whole numbers; seconds by the name of the column."""
    if not name.endswith("_s"):
        return _with(column, 'as = "basis_points"' if name.endswith("_bp") else 'as = "int"')
    if type(value) is str and _CLOCK.fullmatch(value):
        return _with(column, 'as = "clock_duration"')
    word = _plain(column)
    units = {"min": "minutes", "hour": "decimal_hours_to_seconds", "qty": "decimal_hours_to_seconds",
             "quantity": "decimal_hours_to_seconds"}
    unit = next((unit for part, unit in units.items() if part in word), "seconds")
    return _with(column, f'as = "{unit}"')


def _of_bool(sample: Sample, name: str, column: str, value: Any) -> str | None:
    """Flags."""
    return _with(column) if type(value) is bool else _with(column, 'as = "flag"')


def _of_date(sample: Sample, name: str, column: str, value: Any) -> str | None:
    """Dates by how they are written; an end is taken for inclusive, as vendors have it."""
    steps = ["civil_date"]
    if type(value) is int and 0 < value < 100_000:
        steps = ["date_days"]
    elif type(value) is str and not _ISO_DAY.fullmatch(value):
        return None
    if name in ("to", "end", "effective_to"):
        steps.append("inclusive_end")
    return _with(column, f"as = {_text(steps[0]) if len(steps) == 1 else [*steps]}".replace("'", '"'))


def _of_instant(sample: Sample, name: str, column: str, value: Any) -> str | None:
    """Instants by how they are written."""
    if type(value) is str and not _ZONED.fullmatch(value):
        return _with(column, 'as = "utc"')
    return _with(column, 'as = "zoned"')


def _of_amount(kind: str) -> Any:
    """A builder of rates or money, whose currency stands in another column."""

    def build(sample: Sample, name: str, column: str, value: Any) -> str | None:
        currency = next((other for other, code in sample.columns.items()
                         if type(code) is str and _CURRENCY.fullmatch(code) and "curr" in other.lower()), None)
        minor = ", minor = true" if "cents" in column.lower() else ""
        return currency and _with(column, f'as = "{kind}", ccy_from = {_text(currency)}{minor}')

    return build


def _of_texts(sample: Sample, name: str, column: str, value: Any) -> str | None:
    """Lists that are written as text."""
    return _with(column, 'as = "split"') if type(value) is str else None


_BY_KIND: Final[Mapping[Kind, Any]] = {
    Kind.TEXT: _of_text, Kind.INT: _of_int, Kind.BOOL: _of_bool, Kind.DATE: _of_date, Kind.INSTANT: _of_instant,
    Kind.RATE: _of_amount("rate"), Kind.MONEY: _of_amount("money"), Kind.TEXTS: _of_texts,
}


def _with(column: str, more: str = "") -> str:
    """The TOML of a column."""
    return f"{{ from = {_text(column)}, {more} }}" if more else _text(column)


def _text(value: str) -> str:
    """A TOML string."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in escaped) + '"'


def _reads(sample: Sample, entity: Entity, attribute: str, toml: str) -> frozenset[str] | None:
    """The columns that a field reads, None when it cannot read the sample."""
    fields = "".join(f"{_key(name)} = {{ const = {_constant(entity.attributes[name])} }}\n"
                     for name in entity.key if name != attribute)
    text = f'name = "t"\nversion = 1\n[[map]]\nentity = "{entity.name}"\n[map.fields]\n{fields}'
    ours = {"@id": "1", "@system": "PSA"}
    try:
        (each,) = parse(f"{text}{_key(attribute)} = {toml}\n", "draft").maps
        return each.reads if attribute in each.asserted({**sample.columns, **ours}) else None
    except CodecError:
        return None


def _constant(attribute: Attribute) -> str:
    """Some value of an attribute, in TOML."""
    if attribute.members:
        return _text(attribute.members[0])
    return {Kind.INT: "1", Kind.DATE: "1970-01-01"}.get(attribute.kind, '"x"')


def _key(name: str) -> str:
    """A TOML key."""
    return name if _BARE.fullmatch(name) else _text(name)


def _write(sample: Sample, name: str, entity: Entity, guesses: list[Guess]) -> str:
    """The whole file."""
    taken = frozenset().union(*(guess.reads for guess in guesses))
    own = _id_column(sample)
    lines = [f"# A draft from a sample of format {sample.format}: look at every line before you use it.",
             "# `tieout mappings schema` prints a JSON Schema by which editors complete and check this file.", "",
             f"name = {_text(name)}", "version = 1", "", "[[map]]", f'entity = "{entity.name}"']
    if sample.table:
        lines.append(f"table = {_text(sample.table)}")
    if own and "." not in own:
        lines.append(f"subject = {_text('{' + own + '}')}")
    lines += ["", "[map.fields]", *(f"{_key(guess.attribute)} = {guess.toml}" for guess in guesses)]
    rest = [f"#   {_shown(column)} = {_shown(value)}" for column, value in sample.columns.items()
            if column not in taken and column != own]
    if rest:
        lines += ["", "# Not mapped:", *rest]
    return "\n".join(lines) + "\n"


def _shown(value: Any) -> str:
    """A value in a comment: one line, not too long."""
    text = "".join(each if each.isprintable() else " " for each in (format(value, "f") if type(value) is Decimal
                                                                   else str(value)))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
