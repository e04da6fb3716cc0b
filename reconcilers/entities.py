"""The canonical entities: attributes with their kinds, business keys, and the axis a record travels on.

Names are those of the domain model (section 1.2.1); the table is the single source for codecs, mappings and rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final


class Kind(StrEnum):
    """How an attribute's value is carried in a `Change`."""

    TEXT = "text"
    INT = "int"
    BOOL = "bool"
    DATE = "date"  # days since 1970-01-01
    INSTANT = "instant"  # microseconds UTC
    RATE = "rate"  # [rate_e6, ccy, unit, day_s]
    MONEY = "money"  # [minor, ccy]
    TEXTS = "texts"  # list of text
    JSON = "json"  # carried as it is


class Axis(StrEnum):
    """Which changes topic a record travels on, and so what it can be joined with."""

    PROJECT = "project"  # transactions, by the project's partition
    WORKER = "worker"  # capacity and compliance, by the worker's partition
    CONTRACT = "contract"  # what spans projects
    CONTROL = "control"  # what is global: one partition


class Reach(StrEnum):
    """Where on the project axis a record goes."""

    KEYED = "keyed"  # to the partition of its project
    ENTRY = "entry"  # to the home partition of the time entry that it belongs to
    BROADCAST = "broadcast"  # to every partition: masters and assignments


UNKNOWN: Final = "UNKNOWN"  # what a symbol outside an enumeration decodes to


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute's kind and, for an enumeration, its members."""

    kind: Kind
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Entity:
    """A canonical entity. `key` names the attributes of its business key; empty: the source's subject is the key."""

    name: str
    key: tuple[str, ...]
    attributes: Mapping[str, Attribute]
    reach: Reach = Reach.BROADCAST

    def business_key(self, asserted: Mapping[str, Any], subject: str) -> str | None:
        """The key as text, its parts joined by ':' ('TIME:88121'), or None when a part is not asserted."""
        if not self.key:
            return subject or None
        parts = [asserted.get(name) for name in self.key]
        if any(part is None or part == "" for part in parts):
            return None
        return ":".join(str(part) for part in parts)


def _entity(name: str, key: str, spec: str, reach: Reach = Reach.BROADCAST) -> Entity:
    """Read 'attribute kind|MEMBER|…' pairs, one an item separated by commas."""
    attributes: dict[str, Attribute] = {}
    for item in filter(None, (part.strip() for part in spec.replace("\n", " ").split(","))):
        attribute, _, kind = item.partition(" ")
        first, *members = kind.strip().split("|")
        attributes[attribute] = Attribute(Kind(first or "text"), tuple(members))
    return Entity(name, tuple(key.split()), attributes, reach)


_TIME_STATES = "text|DRAFT|SUBMITTED|APPROVED|RECALL_REQUESTED|RETURNED|REJECTED|CANCELLED|DELETED"
_TIME_TYPES = "text|WORK|OVERTIME|TRAVEL|ONCALL|ABSENCE|BREAK"
_METHODS = "text|TM|TM_CAPPED|FIXED_MILESTONE|FIXED_PROGRESS|RETAINER|NON_BILLABLE"
_CONTRACT_STATES = "text|DRAFT|CONFIRMED|ACTIVE|COMPLETED|CLOSED|ON_HOLD"

_ALL = (
    _entity("project", "project_code", """
        project_code text, name text, customer_no text, contract_no text, opportunity_no text, le_code text,
        cost_centre text, practice text, region text, ccy text, start date, end date,
        project_type text|EXTERNAL|INTERNAL|LEAVE|PRESALES, billable bool, allow_time_without_assignment bool,
        closed_for_time bool, tax_jurisdiction text, billing_calendar_id text, billing_cycle_id text,
        pm_worker_no text, parent_code text, service_class text, line_no int, aliases texts,
        state text|REQUESTED|SHELL_CREATED|OPEN|SUSPENDED|CLOSED_FOR_TIME|CLOSED|ARCHIVED|CANCELLED"""),
    _entity("wbs_task", "project_code wbs_code", """
        project_code text, wbs_code text, name text, parent text, is_leaf bool, billable bool, start date, end date,
        planned_s int, billing_item text, service_class text, line_no int, state text|OPEN|CLOSED""", Reach.KEYED),
    _entity("resource", "worker_no", """
        worker_no text, type text, state text|PREHIRE|ACTIVE|LEAVE|TERMINATED, home_le text, home_cc text,
        practice text, home_region text, work_country text, tz text, calendar_id text, fte_bp int, role_code text,
        grade text, hire_date date, term_date date, effective_from date, effective_to date"""),
    _entity("calendar_day", "calendar_id day", "calendar_id text, day date, work_s int, holiday bool"),
    _entity("leave", "worker_no day", """
        worker_no text, day date, leave_s int, leave_type text, state text|PENDING|APPROVED|CANCELLED"""),
    _entity("availability", "worker_no day", "worker_no text, day date, capacity_s int, as_of_at instant"),
    _entity("assignment", "", """
        project_code text, wbs_code text, worker_no text, role_code text, from date, to date,
        mode text|PCT|PER_DAY|TOTAL|CONTOUR, alloc_value int, commit text|SOFT|HARD|PROPOSED|CANCELLED,
        bill_rate rate, cost_rate rate, billable bool, demand_no text, replaces text, subst_approved_by text,
        subst_approved_at instant,
        state text|PROPOSED|SOFT|HARD|IN_PROGRESS|COMPLETED|CANCELLED|DELETED"""),
    _entity("rate", "rate_id", f"""
        rate_id text, kind text|BILL|COST|TRANSFER, level int, scope_key text, role_code text, worker_no text,
        location text, time_type {_TIME_TYPES}, rate rate, effective_from date, effective_to date,
        state text|DRAFT|PUBLISHED|SUPERSEDED|WITHDRAWN, published_at instant, version int, card_code text"""),
    _entity("time_entry", "origin_system origin_id", f"""
        origin_system text, origin_id text, worker_no text, project_code text, wbs_code text, work_date date,
        work_tz text, start_at instant, end_at instant, break_s int, qty_s int, quantum_s int, billable_s int,
        time_type {_TIME_TYPES}, role_code text, assignment_id text, billable bool, billed bool, state {_TIME_STATES},
        submitted_at instant, approved_at instant, approver_no text, approval_cycle int, version int,
        source_rate rate, source_amount money, note_hash text""", Reach.ENTRY),
    _entity("posted_labour", "le_code erp_txn_id", """
        le_code text, erp_txn_id text, origin_ref text, project_code text, wbs_code text, worker_no text,
        work_date date, accounting_date date, period text,
        txn_type text|COST|UNBILLED_SALES|BILLED_SALES|IC_SALES|UNIT_COST, qty_s int, amount money, cost_centre text,
        bill_status text|UNBILLED|INVOICE_CREATED|POSTED|CANCELLED|READY,
        adj_status text|NONE|IN_PROCESS|ADJUSTED|UNADJUSTABLE, voucher text, source_rate rate""", Reach.ENTRY),
    _entity("expense", "origin_system origin_id", f"""
        origin_system text, origin_id text, worker_no text, project_code text, incurred_date date, category text,
        spend money, bill money, markup_bp int, taxes json, receipt bool, billable bool, state {_TIME_STATES},
        approved_at instant""", Reach.KEYED),
    _entity("contract", "contract_no", f"""
        contract_no text, le_code text, customer_no text, ccy text, from date, to date, state {_CONTRACT_STATES},
        po_no text, po_to date, po_amount money, cap money, cap_s int, billing_calendar_id text"""),
    _entity("contract_line", "contract_no line_no", f"""
        contract_no text, line_no int, customer_no text, le_code text, ccy text, from date, to date,
        method {_METHODS}, cap money, cap_s int, cap_policy text|HOLD_WHOLE|SPLIT|WARN,
        rate_basis text|TRANSACTION_DATE|ASSIGNMENT_START|CONTRACT_SIGN, retro_policy text|BILL_DELTA|ABSORB|ASK,
        po_no text, po_to date, po_amount money, allowed_roles texts, split json, service_class text"""),
    _entity("budget", "project_code version category", """
        project_code text, version int, category text, hours_s int, cost money, revenue money, approved bool,
        policy text|HOLD|WARN""", Reach.KEYED),
    _entity("milestone", "contract_no line_no milestone_no", """
        contract_no text, line_no int, milestone_no text, amount money, due date, conditions json,
        state text|NOT_READY|READY|PROPOSED|INVOICED|PAID|CANCELLED"""),
    _entity("invoice", "le_code invoice_no", """
        le_code text, invoice_no text, type text|INVOICE|CREDIT_NOTE|PROFORMA, customer_no text, ccy text,
        invoice_date date, accounting_date date, billing_cycle_id text,
        state text|DRAFT|APPROVED|POSTED|SENT|PAID|VOID, corrects_invoice text, idempotency_key text,
        posted_at instant, net money, tax money"""),
    _entity("invoice_line", "le_code invoice_no line_no", """
        le_code text, invoice_no text, line_no int, project_code text, qty_s int, rate rate, net money, tax_code text,
        tax money, cost_centre text"""),
    _entity("covered_invoice", "le_code invoice_no", "le_code text, invoice_no text"),  # ingest says so, no source
    _entity("coverage", "le_code invoice_no line_no target", """
        le_code text, invoice_no text, line_no int, kind text|TIME_ENTRY|MILESTONE|EXPENSE, target text,
        target_version int, sign int, qty_s int, amount money, project_code text""", Reach.ENTRY),
    _entity("write_off", "write_off_no", """
        write_off_no text, target text, qty_s int, amount money, reason text, approved_by text, at instant""",
        Reach.ENTRY),
    _entity("opportunity", "opportunity_no", """
        opportunity_no text, account text, stage text, is_won bool, won_at instant, probability_bp int, amount money,
        close_date date, contracting_le text, delivery_countries texts, expected_start date, role_plan json,
        approved bool"""),
    _entity("fx_rate", "base quote type rate_date", """
        base text, quote text, rate_e9 int, type text|SPOT|MONTH_AVG|MONTH_END|CONTRACT|CORPORATE, rate_date date"""),
    _entity("tax_rule", "supplier_jur customer_jur customer_type service_class effective_from", """
        supplier_jur text, customer_jur text, customer_type text|B2B|B2C|GOV|IC, service_class text,
        effective_from date, effective_to date, tax_code text, rate_bp int,
        treatment text|STANDARD|REDUCED|ZERO|EXEMPT|REVERSE_CHARGE|OUTSIDE_SCOPE|MANUAL, requires texts"""),
    _entity("legal_entity", "le_code", """
        le_code text, name text, country text, base_ccy text, tz text, region text,
        rounding text|HALF_AWAY|HALF_EVEN|DOWN, materiality_minor int, state text|ACTIVE|SUSPENDED|CLOSED"""),
    _entity("cost_centre", "le_code cc_code", """
        le_code text, cc_code text, name text, practice text, from date, to date,
        state text|OPEN|CLOSED_TO_POSTING|CLOSED"""),
    _entity("customer", "customer_no", """
        customer_no text, name text, bill_to_country text, tax_id text,
        tax_id_status text|UNVERIFIED|VALID|INVALID, payment_terms text, po_required bool, intercompany_le text,
        customer_type text|B2B|B2C|GOV|IC"""),
    _entity("staffing_demand", "project_code demand_no", """
        project_code text, demand_no text, role_code text, qty_s int, from date, to date,
        state text|DRAFT|OPEN|PROPOSED|FILLED|CANCELLED, filled_by text, opportunity_no text""", Reach.KEYED),
    _entity("billing_cycle", "billing_calendar_id cycle_no", """
        billing_calendar_id text, cycle_no text, from date, to date, cutoff_at instant, lock_at instant, tz text"""),
    _entity("alias", "entity old", "entity text, old text, new text, reason text|REKEY|MERGE|SPLIT, at instant"),
    _entity("payment", "payment_no", "payment_no text, invoice_no text, le_code text, amount money, paid_at instant"),
    _entity("revenue_posting", "le_code txn_id", """
        le_code text, txn_id text, project_code text, period text, amount money, source_ref text""", Reach.KEYED),
    _entity("control_total", "object source target period scope", """
        object text, source text, target text, period text, scope text, qty_s int, amount money, at instant"""),
)

ENTITIES: Final[Mapping[str, Entity]] = {entity.name: entity for entity in _ALL}
SOURCED: Final[Mapping[str, Entity]] = {  # those that a source may send
    name: entity for name, entity in ENTITIES.items() if name != "covered_invoice"
}
# Enumerations that decide what becomes of a record: a symbol that nobody knows there is told (check 43).
GUARDED: Final[Mapping[str, tuple[str, ...]]] = {
    entity.name: tuple(name for name, attribute in entity.attributes.items() if attribute.members and (
        name in ("state", "type", "method", "rounding") or name.endswith("_type")))
    for entity in _ALL
}
SYSTEMS: Final = ("ERP", "PSA", "HCM", "CRM", "SCHED", "TIME")
