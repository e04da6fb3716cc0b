"""What six systems do in two weeks, in some seconds: a seeded workload on the tables of `sql/tables.sql`.

Each step is one or more transactions as an application would run them. `CHECKPOINTS` names the steps in their order;
after each of them no transaction is open. The same seed and the same day give the same tables.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

import psycopg
from capture import firm
from capture.firm import FIRMS, PEOPLE, PROJECTS, Statement, insert

Transaction = list[Statement]

RENAMED: Final = ("BOLT-2", "BOLT-2026")


@dataclass(slots=True)
class Entry:
    """A line of a timesheet, as the workload remembers it."""

    id: int
    person: tuple[str, str, str, tuple[int, ...]]
    project: int
    day: date
    minutes: int
    status: str = "submitted"
    posted: bool = False
    billed: bool = False

    @property
    def hours(self) -> Decimal:
        return Decimal(self.minutes) / 60

    @property
    def ref(self) -> str:
        """What other systems call it."""
        return f"kimai:{self.id}"


@dataclass
class Workload:
    """The applications of the six systems; `today` anchors all dates."""

    dsn: str
    today: date
    seed: int = 7
    entries: dict[int, Entry] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.monday = self.today - timedelta(days=self.today.weekday() + 14)

    # --- running transactions --------------------------------------------------------------------------------------

    def run(self, *statements: Statement) -> None:
        """One transaction."""
        with psycopg.connect(self.dsn) as connection:
            for statement, values in statements:
                connection.execute(statement.encode(), values)

    def interleaved(self, transactions: Sequence[Transaction], at_once: int = 4) -> None:
        """Transactions on connections of their own: a statement of one, then of another; they end in any order."""
        waiting = list(transactions)
        with ExitStack() as stack:
            idle = [stack.enter_context(psycopg.connect(self.dsn)) for _ in range(min(at_once, len(waiting)))]
            running: list[tuple[psycopg.Connection[Any], Iterator[Statement]]] = []
            while waiting or running:
                while waiting and idle:
                    running.append((idle.pop(), iter(waiting.pop(0))))
                place = self.rng.randrange(len(running))
                connection, statements = running[place]
                following = next(statements, None)
                if following is None:
                    connection.commit()
                    idle.append(running.pop(place)[0])
                else:
                    connection.execute(following[0].encode(), following[1])

    def masters(self) -> None:
        """What the snapshots of the engines read."""
        self.run(*firm.statements(self.monday))

    # --- the steps -------------------------------------------------------------------------------------------------

    def week_one(self) -> None:
        """Time is logged, mirrored, approved and posted: many transactions at once, ending in any order."""
        self._log_time(range(5))
        self._approve([each for each in self.entries.values() if self.rng.random() < 0.85])
        self._post([each for each in self.entries.values() if each.status == "approved" and self.rng.random() < 0.9])

    def rates(self) -> None:
        """Back-dated prices, prices of another scale, an end that was infinity, recalls, a second week."""
        self._log_time(range(7, 12))
        self._overtaken()
        self._change_tables()
        changed = self.monday + timedelta(days=2)
        self.run(  # a price agreed late: effective from last Wednesday
            ("UPDATE erp.sales_price SET valid_to = %s WHERE scope_key = 'ACME-1' AND role = 'SC'", (changed - timedelta(days=1),)),
            ("""INSERT INTO erp.sales_price SELECT recid + 1000, price_level, scope_key, role, worker, 131.2525, currency,
                price_unit, %s, 'infinity', 1, now() FROM erp.sales_price WHERE scope_key = 'ACME-1' AND role = 'SC'""", (changed,)),
        )
        self.run(("UPDATE erp.sales_price SET price = price + 0.125 WHERE role = 'EN' AND price_level = 4", ()))
        self.run(("UPDATE erp.sales_price SET price = 120.00 WHERE scope_key = '*' AND role = 'EN' AND currency = 'EUR'", ()),
                 ("UPDATE erp.contract_line SET valid_to = %s WHERE contract_no = 'K-1'", (self.today + timedelta(days=400),)),
                 ("UPDATE erp.contract_line SET retro_policy = 'Absorb' WHERE contract_no = 'K-2'", ()))
        self.run(("UPDATE psa.assignment SET bill_rate = 118.7, currency = 'GBP' WHERE resource = 'W103'", ()),
                 ("UPDATE psa.assignment SET bill_rate = 118.75 WHERE resource = 'W103'", ()),
                 ("UPDATE psa.assignment SET bill_rate = NULL, currency = NULL WHERE resource = 'W103'", ()))
        for each in self._some("approved", 3):
            each.status = "recalled"
            self.run((f"""UPDATE "time".timesheet SET status = 'recalled', approved_at = NULL, approver = NULL WHERE id = {each.id}""", ()))
            self.run(("UPDATE psa.timecard SET status = 'Saved' WHERE external_id = %s", (str(each.id),)))
        self._approve([each for each in self.entries.values() if each.status == "submitted"])
        self._post([each for each in self.entries.values() if each.status == "approved" and not each.posted])

    def invoices(self) -> None:
        """Two invoices are drafted; one is posted, line by line in one statement, and paid; the other stays a draft."""
        self._invoice("UK01", "UK-1001", 0, "GBP", 2)
        self._invoice("DE01", "DE-2001", 2, "EUR", 2)
        self._invoice("UK01", "UK-1002", 1, "GBP", 0)
        self.run(("UPDATE erp.invoice SET status = 3 WHERE invoice_id = 'UK-1001'", ()))
        billed = [str(each.id) for each in self.entries.values() if each.billed]
        self.run(("UPDATE psa.timecard SET billed = true WHERE external_id = ANY(%s)", (billed[:-1],)))

    def corrections(self) -> None:
        """Credit notes, write-offs, deletes, new keys, and rows deleted and made again in one transaction."""
        billed = [each for each in self.entries.values() if each.billed and each.project == 0]
        self._credit("UK01", "UK-1001C", billed[:3])
        open_ones = [each for each in self._some("approved", 99) if not each.billed]
        self.run(*(insert("erp.write_off", f"WO-{each.id}", each.ref, each.hours / 2, "goodwill") for each in open_ones[:3]))
        for each in open_ones[3:5]:  # removed where it was logged; the others follow, or do not
            self.run((f'DELETE FROM "time".timesheet WHERE id = {each.id}', ()))
        self.run(("DELETE FROM psa.timecard WHERE external_id = %s", (str(open_ones[3].id),)))
        self._remake(open_ones[5], open_ones[6])
        self.run(("UPDATE erp.empl_trans SET recid = recid + 1000000 WHERE worker = 'W102'", ()))
        self.run(("UPDATE sched.task SET task_id = task_id + 100 WHERE people_id = 502", ()))
        self.run(("DELETE FROM erp.invoice_hours WHERE invoice_id = 'UK-1002' AND line_no = 1", ()))
        self.run(('UPDATE "time".account SET enabled = false WHERE id = 15', ()),
                 ("UPDATE hcm.worker SET worker_status = 'Terminated', termination_date = %s WHERE employee_id = 'W202'", (self.today,)))

    def rename(self) -> None:
        """A project takes a new code: the primary key in the ERP, a text elsewhere, one system after the other."""
        old, new = RENAMED
        self.run(("UPDATE erp.project SET projid = %s WHERE projid = %s", (new, old)),  # postings follow by cascade
                 ("INSERT INTO erp.project_rename VALUES (%s, %s)", (old, new)))
        self.run(('UPDATE "time".project SET number = %s WHERE number = %s', (new, old.lower())))
        self.run(("UPDATE psa.project SET project_code = %s WHERE project_code = %s", (new, old)),
                 ("UPDATE psa.assignment SET project_code = %s WHERE project_code = %s", (new, old)))
        late = [each for each in self.entries.values() if each.status == "recalled"][:1]
        self._approve(late)
        self.run(("UPDATE psa.timecard SET status = 'Approved' WHERE external_id = ANY(%s)", ([str(each.id) for each in late],)))

    def reload(self) -> None:
        """The scheduling system is emptied and filled again in one transaction, as re-imports do."""
        self.run(("CREATE TEMPORARY TABLE kept ON COMMIT DROP AS SELECT * FROM sched.task", ()),
                 ("TRUNCATE sched.task", ()),
                 ("INSERT INTO sched.task SELECT * FROM kept", ()),
                 ("UPDATE sched.task SET hours_pd = hours_pd + 0.25 WHERE people_id = 504", ()))

    def emptied(self) -> None:
        """Write-offs are truncated for good, and one is made anew."""
        kept = next(iter(sorted(self.entries)))
        self.run(("TRUNCATE erp.write_off", ()))
        self.run(insert("erp.write_off", "WO-NEW", f"kimai:{kept}", Decimal("0.25"), "goodwill"))

    # --- what is easy to get wrong ---------------------------------------------------------------------------------

    def _overtaken(self) -> None:
        """A row that an older transaction changes after a younger one; what is taken back; what never was."""
        first, second, third = sorted(self.entries)[:3]
        minutes = 'UPDATE "time".timesheet SET minutes = %s WHERE id = %s'
        with psycopg.connect(self.dsn) as old, psycopg.connect(self.dsn) as young:
            old.execute(minutes, (self.entries[first].minutes, first))
            young.execute(minutes, (15, second))
            young.commit()
            old.execute(minutes, (self.entries[second].minutes, second))
        with psycopg.connect(self.dsn) as part:
            part.execute(minutes, (30, third))
            part.execute("SAVEPOINT before")
            part.execute(minutes, (45, first))
            part.execute("ROLLBACK TO before")
            part.execute(minutes, (self.entries[third].minutes, third))
        with psycopg.connect(self.dsn) as never:
            never.execute(minutes, (60, third))
            never.rollback()

    def _change_tables(self) -> None:
        """A column more, a column of another scale: the rows that follow have another schema."""
        self.run(('ALTER TABLE "time".timesheet ADD COLUMN exported boolean NOT NULL DEFAULT false', ()),
                 ("ALTER TABLE erp.empl_trans ALTER COLUMN cost TYPE numeric(14, 4)", ()))
        self.run(("UPDATE erp.empl_trans SET cost = qty * 61.2345", ()))

    # --- parts of steps --------------------------------------------------------------------------------------------

    def _log_time(self, days: range) -> None:
        transactions = []
        for offset in days:
            day = self.monday + timedelta(days=offset)
            for place, person in enumerate(PEOPLE):
                for part, project in enumerate(person[3]):
                    minutes = self.rng.choice((450, 435, 480)) // len(person[3]) // 15 * 15
                    entry = Entry(88_000 + offset * 100 + place * 10 + part, person, project, day, minutes)
                    self.entries[entry.id] = entry
                    transactions.append(self._logged(entry, 11 + place))
        self.rng.shuffle(transactions)
        self.interleaved(transactions)

    def _logged(self, entry: Entry, account: int) -> Transaction:
        """The line in the time system, first as a draft, and its mirror in the PSA."""
        employee, firm, role, _ = entry.person
        zone = next(each[4] for each in FIRMS if each[0] == firm)
        paid = PROJECTS[entry.project][2] == 0
        note = "a long note " * 200 if entry.id % 7 == 0 else None
        submitted = datetime.combine(entry.day, time(18, 5), ZoneInfo(zone))
        logged = [insert('"time".timesheet', entry.id, account, 31 + entry.project, entry.day, zone, entry.minutes - 15, "work",
                          role, paid, "draft", None, None, None, note),
                  ('UPDATE "time".timesheet SET minutes = %s, status = %s, submitted_at = %s WHERE id = %s',
                   (entry.minutes, "submitted", submitted, entry.id))]
        mirrored = insert("psa.timecard", f"a0T{entry.id}", str(entry.id), employee, PROJECTS[entry.project][0], role,
                           entry.day, entry.hours, entry.hours if paid else 0, paid, False, "Submitted", None, None)
        return [*logged, mirrored]

    def _approve(self, entries: Sequence[Entry]) -> None:
        """Approved in the time system one by one, in the PSA in one statement that prices what it can."""
        for each in entries:
            each.status = "approved"
        now = datetime.combine(self.today, time(9), ZoneInfo("UTC"))
        self.interleaved([[('UPDATE "time".timesheet SET status = %s, approved_at = %s, approver = %s WHERE id = %s',
                            ("approved", now, "W900", each.id))] for each in entries])
        self.run(("""UPDATE psa.timecard t SET status = 'Approved', bill_rate = p.price, currency = p.currency
                     FROM erp.sales_price p
                     WHERE t.external_id = ANY(%s) AND p.price_level = 4 AND p.scope_key = t.project_code AND p.role = t.role
                       AND p.valid_from <= t.work_date AND t.work_date <= p.valid_to""", ([str(each.id) for each in entries],)),
                 ("UPDATE psa.timecard SET status = 'Approved' WHERE external_id = ANY(%s)", ([str(each.id) for each in entries],)))

    def _post(self, entries: Sequence[Entry]) -> None:
        """Posted as labour, some in two transactions of the ledger."""
        transactions: list[Transaction] = []
        for each in entries:
            each.posted = True
            firm, code = each.person[1], PROJECTS[each.project][0]
            halves = (each.hours / 2, each.hours - each.hours / 2) if each.id % 5 == 0 else (each.hours,)
            transactions.append([
                insert("erp.empl_trans", 5637144576 + each.id * 10 + part, firm, f"T{each.id}-{part}", each.ref, code,
                        each.person[0], each.day, each.day, hours, f"V{each.id}", hours * 60)
                for part, hours in enumerate(halves)
            ])
        self.interleaved(transactions)

    def _invoice(self, firm: str, number: str, project: int, ccy: str, status: int) -> None:
        chosen = [each for each in self._some("approved", 99) if each.project == project and each.day < self.monday + timedelta(days=7)]
        code = PROJECTS[project][0]
        self.run(
            insert("erp.invoice", firm, number, 1, PROJECTS[project][3], ccy, self.today, 0, None, None, None),
            *(("""INSERT INTO erp.invoice_hours SELECT %s, %s, %s, %s, false, %s, round(%s * coalesce(
                     (SELECT max(price) FROM erp.sales_price WHERE price_level = 4 AND scope_key = %s AND role = %s
                        AND valid_from <= %s AND %s <= valid_to), 90), 2), %s""",
               (firm, number, line, each.ref, each.hours, each.hours, code, each.person[2], each.day, each.day, ccy))
              for line, each in enumerate(chosen, 1)),
        )
        if status == 2:
            for each in chosen:
                each.billed = True
            self.run(("UPDATE erp.invoice_hours SET hours = hours - 0.25 WHERE invoice_id = %s AND line_no = 2", (number,)),
                     ("""UPDATE erp.invoice SET status = 2, posted_at = now(), net = (SELECT sum(amount) FROM erp.invoice_hours h
                         WHERE h.invoice_id = invoice.invoice_id) WHERE invoice_id = %s""", (number,)))

    def _credit(self, firm: str, number: str, entries: Sequence[Entry]) -> None:
        self.run(
            insert("erp.invoice", firm, number, 2, PROJECTS[entries[0].project][3], "GBP", self.today, 0, None, "UK-1001", None),
            ("""INSERT INTO erp.invoice_hours SELECT dataareaid, %s, row_number() OVER (ORDER BY line_no), ext_origin_ref, true,
                hours, amount, currency FROM erp.invoice_hours WHERE invoice_id = 'UK-1001' AND ext_origin_ref = ANY(%s)""",
             (number, [each.ref for each in entries])),
        )
        self.run(("UPDATE erp.invoice SET status = 2, posted_at = now() WHERE invoice_id = %s", (number,)))

    def _remake(self, *entries: Entry) -> None:
        """Deleted and made again under the same key in one transaction, with other hours."""
        for each in entries:
            each.minutes -= 30
            self.run(
                (f'CREATE TEMPORARY TABLE kept ON COMMIT DROP AS SELECT * FROM "time".timesheet WHERE id = {each.id}', ()),
                (f'DELETE FROM "time".timesheet WHERE id = {each.id}', ()),
                (f"UPDATE kept SET minutes = {each.minutes}, description = NULL", ()),
                ('INSERT INTO "time".timesheet SELECT * FROM kept', ()),
            )

    def _some(self, status: str, most: int) -> list[Entry]:
        found = [each for _, each in sorted(self.entries.items()) if each.status == status]
        return found if most >= len(found) else self.rng.sample(found, most)


CHECKPOINTS: Final[tuple[tuple[str, Callable[[Workload], None]], ...]] = (
    ("snapshot", lambda workload: None),
    ("week one", Workload.week_one),
    ("rates", Workload.rates),
    ("invoices", Workload.invoices),
    ("corrections", Workload.corrections),
    ("rename", Workload.rename),
    ("reload", Workload.reload),
    ("emptied", Workload.emptied),
)
