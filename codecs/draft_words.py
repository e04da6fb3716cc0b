"""What vendors call our attributes: words that a draft of a mapping goes by, the likeliest first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "origin_id": ("id", "entry_id", "time_entry_id"),
    "worker_no": ("employee_number", "employee_id", "worker_id", "people_id", "user_id", "user", "resource_id",
                  "resource", "bookableresource", "person_id", "employee"),
    "project_code": ("project_number", "projid", "project_id", "workspace_id", "project.code", "project.id", "project",
                     "job", "code"),
    "wbs_code": ("task_id", "task.id", "story_id", "activity_number", "activity_id", "task"),
    "work_date": ("spent_date", "date_performed", "tran_date", "trandate", "transdate", "date", "day", "worked_on",
                  "start_date", "date_tz"),
    "tz": ("timezone", "time_zone"),
    "work_tz": ("timezone", "time_zone", "zone"),
    "start_at": ("started_at", "start_time", "starttime", "begin"),
    "end_at": ("ended_at", "end_time", "endtime"),
    "qty_s": ("time_in_minutes", "minutes", "hours", "duration", "seconds", "qty", "quantity"),
    "billable": ("is_billable", "chargeable"),
    "billed": ("is_billed", "invoiced"),
    "state": ("status", "approval_status", "entrystatus", "invoicestatus", "stage", "is_active", "active"),
    "submitted_at": ("submitted",),
    "approved_at": ("approved", "approved_on", "approval_date"),
    "source_rate": ("billable_rate", "bill_rate", "rate_in_cents", "hourly_rate", "rate", "sales_price"),
    "note_hash": ("notes", "description", "note", "comment"),
    "role_code": ("role", "role_id", "job_title", "job_profile", "resource_role"),
    "from": ("start_date", "starts_on", "starttime", "start"),
    "to": ("end_date", "ends_on", "endtime", "end"),
    "start": ("start_date", "starts_on", "scheduledstart"),
    "end": ("end_date", "ends_on", "due_date", "finish"),
    "bill_rate": ("suggested_bill_rate", "rate"),
    "cost_rate": ("cost_rate_amount", "average_cost_rate"),
    "rate": ("suggested_bill_rate", "price", "bill_rate"),
    "effective_from": ("start_date", "valid_from"),
    "effective_to": ("end_date", "valid_to"),
    "name": ("title", "subject", "full_name"),
    "ccy": ("currency", "currency_iso_code", "currencyid"),
    "le_code": ("subsidiary", "company", "dataareaid", "legal_entity"),
    "invoice_no": ("tranid", "invoice_number", "number"),
    "invoice_date": ("trandate", "issue_date", "date"),
    "contract_no": ("contract_number", "contract"),
    "line_no": ("contract_line_number", "line_number", "line"),
    "milestone_no": ("milestone_number", "name"),
    "due": ("due_date", "invoice_date"),
    "customer_no": ("account_number", "customer_id", "client_id", "entity"),
    "bill_to_country": ("country_code", "country"),
    "net": ("subtotal", "amount"),
    "erp_txn_id": ("transid", "transaction_id", "id"),
    "origin_ref": ("externalid", "external_id", "extoriginref"),
    "voucher": ("voucher_no", "voucherjournal"),
    "opportunity_no": ("opportunity_number",),
    "stage": ("stage_name",),
    "account": ("account_id",),
    "probability_bp": ("probability",),
    "close_date": ("closedate",),
    "hire_date": ("hire_date", "start_date"),
    "term_date": ("termination_date",),
    "fte_bp": ("fte_percent",),
}

# Words in the name of a table, object or event.
TABLE_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "time_entry": ("timesheet", "timecard", "worklog"),
    "resource": ("user", "person", "people", "employee", "worker", "contact"),
    "project": ("workspace", "proj__c"),
    "assignment": ("booking", "allocation"),
    "posted_labour": ("emplTrans", "timebill", "projtrans", "actual"),
    "milestone": ("schedule_of_value",),
    "rate": ("ratecard", "pricelevel"),
    "customer": ("account", "client"),
}

# Attributes that name another record, and which.
REFERENCES: Final[Mapping[str, str]] = {"worker_no": "resource", "project_code": "project", "customer_no": "customer"}
