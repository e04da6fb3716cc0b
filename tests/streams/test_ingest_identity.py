"""Who a record is and where it lives: every row of the tables is one change and what follows from it."""

from __future__ import annotations

from typing import Any

import pytest

from tieout.reconcilers.changes import Change, Op
from tieout.streams.identity import EVERYWHERE, Identity, Need, Place, id_row

TIME, PSA, ERP = "TIME/kimai", "PSA/certinia", "ERP/ax"


def change(entity: str, key: str, source: str = TIME, op: Op = Op.UPSERT, /, **asserted: Any) -> Change:
    return Change(entity, key, op, source, key, 1, "1", asserted)


def known(**rows: str) -> Identity:
    """An identity that knows the homes of these time entries: E1='ACME' is home|time_entry|TIME:E1."""
    return Identity({f"home|time_entry|TIME:{name}": code for name, code in rows.items()})


@pytest.mark.parametrize(("subject", "expected"), [
    (change("project", "ACME"), EVERYWHERE),
    (change("assignment", "a-1", project_code="ACME"), EVERYWHERE),
    (change("wbs_task", "ACME:1", project_code="ACME"), Place("ACME")),
    (change("wbs_task", "ACME:1"), Need("home|wbs_task|ACME:1")),
    (change("expense", "PSA:9", project_code=None), Place("PSA:9")),
    (change("time_entry", "TIME:E1", project_code="ACME"), Place("ACME")),
    (change("time_entry", "TIME:E1", qty_s=60), Need("home|time_entry|TIME:E1")),
    (change("time_entry", "TIME:E1", project_code=None), Place("TIME:E1")),
    (change("posted_labour", "UK:1", ERP, project_code="ACME"), Place("ACME")),
    (change("posted_labour", "UK:1", ERP, project_code="ACME", origin_ref="TIME:E1"), Place("ACME")),
    (change("posted_labour", "UK:1", ERP, origin_ref="TIME:E1"), Need("home|time_entry|TIME:E1")),
    (change("coverage", "UK:I:1:TIME:E1", ERP, target="TIME:E1", project_code="ACME"), Need("home|time_entry|TIME:E1")),
    (change("coverage", "UK:I:1:M1", ERP, target="M1", kind="MILESTONE"), Place("M1")),
    (change("write_off", "W1", ERP, target="TIME:E1"), Need("home|time_entry|TIME:E1")),
])
def test_the_first_change_of_a_record_is_placed_by_what_it_says(subject: Change, expected: Place | Need) -> None:
    assert Identity().place(subject)[0] == expected


@pytest.mark.parametrize(("subject", "expected"), [
    (change("time_entry", "TIME:E1", project_code="OTHER"), "ACME"),  # a re-code does not move the entry
    (change("time_entry", "TIME:E1", PSA, qty_s=1), "ACME"),
    (change("time_entry", "TIME:E1", TIME, Op.DELETE), "ACME"),
    (change("posted_labour", "UK:1", ERP, project_code="OTHER", origin_ref="TIME:E1"), "ACME"),
    (change("coverage", "UK:I:1:TIME:E1", ERP, target="TIME:E1"), "ACME"),
    (change("write_off", "W1", ERP, target="TIME:E1"), "ACME"),
    (change("time_entry", "TIME:E2", TIME, Op.REKEY, old="TIME:E1", new="TIME:E2"), "ACME"),
])
def test_what_belongs_to_a_known_entry_goes_to_its_home(subject: Change, expected: str) -> None:
    assert known(E1="ACME").place(subject)[0] == Place(expected)


def test_posted_labour_sets_the_home_of_an_entry_that_is_not_known_yet() -> None:
    identity = Identity()
    _, learned = identity.place(change("posted_labour", "UK:1", ERP, project_code="ACME", origin_ref="TIME:E1"))
    assert set(learned) == {"home|posted_labour|UK:1", "home|time_entry|TIME:E1"}
    assert identity.place(change("time_entry", "TIME:E1", project_code="OTHER"))[0] == Place("ACME")


def test_a_record_keeps_its_home_when_later_changes_say_less() -> None:
    identity = known(E1="ACME")
    identity.place(change("write_off", "W1", ERP, target="TIME:E1"))
    assert identity.place(change("write_off", "W1", ERP, reason="goodwill"))[0] == Place("ACME")


@pytest.mark.parametrize("rekey", [
    change("project", "NEW", ERP, Op.REKEY, old="OLD", new="NEW"),
    change("alias", "project:OLD", ERP, entity="project", old="OLD", new="NEW", reason="REKEY"),
])
def test_old_and_new_code_of_a_project_share_a_partition(rekey: Change) -> None:
    identity = Identity()
    assert identity.place(rekey)[0] == EVERYWHERE
    assert identity.place(change("wbs_task", "NEW:1", project_code="NEW"))[0] == Place("OLD")


def test_a_chain_of_codes_leads_to_the_first() -> None:
    identity = Identity()
    for old, new in (("A", "B"), ("B", "C"), ("C", "A")):  # and back: a circle stays where it began
        identity.place(change("project", new, ERP, Op.REKEY, old=old, new=new))
    assert [identity.root(code) for code in "ABC"] == ["A", "A", "A"]


def test_a_merge_moves_nothing() -> None:
    identity = Identity()
    identity.place(change("alias", "project:P2", ERP, entity="project", old="P2", new="P1", reason="MERGE"))
    assert identity.root("P1") == "P1"


def test_references_become_business_keys() -> None:
    identity = Identity({f"id|project|{PSA}|a0B": "ACME", f"id|resource|{PSA}|r7": "W1"})
    raw = change("wbs_task", "", PSA, project_code={"$ref": ["project", "a0B"]}, wbs_code="1",
                 name=[{"$ref": ["resource", "r7"]}])
    resolved = identity.resolve(raw)
    assert isinstance(resolved, Change)
    assert (resolved.key, resolved.asserted["project_code"], resolved.asserted["name"]) == ("ACME:1", "ACME", ["W1"])


def test_a_reference_is_of_the_source_that_makes_it() -> None:
    identity = Identity({f"id|project|{PSA}|a0B": "ACME"})
    raw = change("wbs_task", "", ERP, project_code={"$ref": ["project", "a0B"]}, wbs_code="1")
    assert identity.resolve(raw) == Need(f"id|project|{ERP}|a0B")


def test_a_reference_to_another_system_is_met_by_any_instance_of_it() -> None:
    identity = Identity()
    raw = change("wbs_task", "", ERP, project_code={"$ref": ["project", "a0B", "PSA"]}, wbs_code="1")
    assert identity.resolve(raw) == Need("id|project|PSA|a0B")
    assert not identity.meets("id|project|PSA|a0B")
    identity.learn_id(Change("project", "ACME", Op.UPSERT, PSA, "a0B", 1, "1", {"project_code": "ACME"}))
    assert identity.meets("id|project|PSA|a0B")
    resolved = identity.resolve(raw)
    assert isinstance(resolved, Change)
    assert resolved.key == "ACME:1"


def test_a_record_without_business_key_is_found_by_its_id() -> None:
    identity = Identity()
    upsert = Change("project", "ACME", Op.UPSERT, PSA, "a0B", 1, "1", {"project_code": "ACME"})
    delete = upsert._replace(key="", op=Op.DELETE, asserted={})
    assert identity.resolve(delete) == Need(f"id|project|{PSA}|a0B")
    assert identity.learn_id(upsert)[0] == [f"id|project|{PSA}|a0B", "id|project|PSA|a0B"]
    resolved = identity.resolve(delete)
    assert isinstance(resolved, Change)
    assert resolved.key == "ACME"


def test_a_project_that_takes_a_new_code_under_its_old_id_is_re_keyed() -> None:
    identity = Identity()
    first = Change("project", "OLD", Op.UPSERT, PSA, "a0B", 1, "1", {"project_code": "OLD"})
    second = first._replace(key="NEW", seq="2", event_id="e2", asserted={"project_code": "NEW"})
    assert identity.learn_id(first)[1] is None
    _, rekey = identity.learn_id(second)
    assert rekey is not None
    assert (rekey.op, rekey.key, rekey.asserted) == (Op.REKEY, "NEW", {"old": "OLD", "new": "NEW"})
    assert rekey.seq > second.seq  # a version of its own, or the row would pass for a duplicate of it
    assert identity.learn_id(second) == ([], None)


def test_a_record_delivered_twice_does_not_take_its_old_key_back() -> None:
    """A connector that restarts repeats what it sent: the old row comes once more behind the new one."""
    identity = Identity()
    first = Change("project", "OLD", Op.UPSERT, PSA, "a0B", 1, "1", {"project_code": "OLD"})
    second = first._replace(key="NEW", seq="2", event_id="e2", asserted={"project_code": "NEW"})
    for change in (first, second):
        identity.learn_id(change)
    restarted = Identity(dict(identity.rows))
    for known in (identity, restarted):
        assert known.learn_id(first) == ([], None)
        assert known.rows[id_row("project", PSA, "a0B")] == "NEW"


def test_rows_are_drained_once() -> None:
    identity = Identity()
    identity.place(change("wbs_task", "A:1", project_code="A"))
    assert identity.drain() == {"home|wbs_task|A:1": "A"}
    assert identity.drain() == {}


def test_only_its_own_system_gives_a_time_entry_its_home() -> None:
    """Whoever is faster, the PSA or the time system, the entry lives where the time system put it first."""
    identity = Identity(systems={"TIME", "PSA"})
    mirror = Change("time_entry", "TIME:1", Op.UPSERT, "PSA/certinia", "a1", 1, "1", {"project_code": "OTHER"})
    own = Change("time_entry", "TIME:1", Op.UPSERT, "TIME/kimai", "1", 1, "1", {"project_code": "ACME"})
    assert identity.place(mirror) == (Need("home|time_entry|TIME:1"), [])
    assert identity.place(own)[0] == Place("ACME")
    assert identity.place(mirror)[0] == Place("ACME")
