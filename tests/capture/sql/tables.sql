-- Six systems, one schema each, in shapes that such systems have: surrogate keys, text codes, inclusive ends, 'infinity',
-- numerics with and without a scale, a table without a primary key, texts that are stored out of line.

CREATE SCHEMA hcm;
CREATE SCHEMA crm;
CREATE SCHEMA sched;
CREATE SCHEMA psa;
CREATE SCHEMA erp;
CREATE SCHEMA "time";

CREATE TABLE hcm.worker (
    employee_id text PRIMARY KEY, worker_type text NOT NULL, worker_status text NOT NULL, company text, cost_center text,
    practice text, region text, country text, time_zone text, work_schedule text, fte_percent numeric, job_profile text,
    hire_date date, termination_date date NOT NULL DEFAULT 'infinity'
);
CREATE TABLE hcm.work_schedule_day (
    work_schedule text, day date, hours numeric(4, 2) NOT NULL, holiday boolean NOT NULL DEFAULT false,
    PRIMARY KEY (work_schedule, day)
);

CREATE TABLE crm.opportunity (
    id character(18) PRIMARY KEY, opportunity_number text NOT NULL, account_number text, stage_name text NOT NULL,
    won boolean NOT NULL DEFAULT false, closed_at timestamptz, probability numeric(5, 2), amount numeric(14, 2),
    currency_iso_code character(3), close_date date, contracting_company text
);

CREATE TABLE sched.project (project_id integer PRIMARY KEY, project_code text, name text, active boolean NOT NULL DEFAULT true);
CREATE TABLE sched.person (people_id integer PRIMARY KEY, employee_number text NOT NULL, name text);
CREATE TABLE sched.task (
    task_id bigint PRIMARY KEY, project_id integer NOT NULL REFERENCES sched.project, people_id integer NOT NULL,
    role text, start_date date NOT NULL, end_date date NOT NULL, hours_pd numeric(5, 2) NOT NULL, status smallint NOT NULL
);

CREATE TABLE psa.project (id text PRIMARY KEY, project_code text NOT NULL, name text, is_billable boolean, status text);
CREATE TABLE psa.assignment (
    id text PRIMARY KEY, project_code text NOT NULL, resource text NOT NULL, role text, start_date date NOT NULL,
    end_date date NOT NULL, planned_hours_per_day numeric(5, 2), bill_rate numeric, currency character(3), status text
);
CREATE TABLE psa.timecard (
    id text PRIMARY KEY, external_id text NOT NULL, resource text, project_code text, role text, work_date date,
    hours numeric(6, 2), billable_hours numeric(6, 2), billable boolean, billed boolean NOT NULL DEFAULT false,
    status text NOT NULL, bill_rate numeric, currency character(3)
);

CREATE TABLE erp.legal_entity (
    dataareaid text PRIMARY KEY, name text, country text, currency character(3), time_zone text, region text
);
CREATE TABLE erp.billing_cycle (
    calendar_id text, cycle_no text, first_day date NOT NULL, last_day date NOT NULL, cutoff_at timestamptz NOT NULL,
    time_zone text NOT NULL, PRIMARY KEY (calendar_id, cycle_no)
);
CREATE TABLE erp.contract_line (
    contract_no text, line_no integer, customer_no text, dataareaid text, currency character(3), valid_from date,
    valid_to date NOT NULL DEFAULT 'infinity', billing_method text, rate_basis text, retro_policy text,
    PRIMARY KEY (contract_no, line_no)
);
CREATE TABLE erp.project (
    projid text PRIMARY KEY, name text, customer_no text, contract_no text, opportunity_no text, dataareaid text,
    practice text, region text, currency character(3), start_date date, end_date date NOT NULL DEFAULT 'infinity',
    project_type smallint NOT NULL, billable boolean NOT NULL, status smallint NOT NULL, billing_calendar_id text
);
-- What the ERP's rename function logs. The connector does not read it; the oracle does.
CREATE TABLE erp.project_rename (old_projid text, new_projid text, renamed_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE erp.sales_price (
    recid bigint PRIMARY KEY, price_level smallint NOT NULL, scope_key text NOT NULL, role text, worker text,
    price numeric NOT NULL, currency character(3) NOT NULL, price_unit smallint NOT NULL DEFAULT 0, valid_from date NOT NULL,
    valid_to date NOT NULL DEFAULT 'infinity', status smallint NOT NULL, published_at timestamptz
);
CREATE TABLE erp.forecast (
    recid bigint PRIMARY KEY, projid text NOT NULL REFERENCES erp.project ON UPDATE CASCADE, worker text NOT NULL, role text,
    start_date date NOT NULL, end_date date NOT NULL, hours_per_day numeric(5, 2) NOT NULL
);
CREATE TABLE erp.empl_trans (
    recid bigint PRIMARY KEY, dataareaid text NOT NULL, transid text NOT NULL, ext_origin_ref text,
    projid text NOT NULL REFERENCES erp.project ON UPDATE CASCADE, worker text, trans_date date NOT NULL,
    accounting_date date, qty numeric(32, 16) NOT NULL, voucher text NOT NULL DEFAULT '', cost numeric(12, 2)
);
CREATE TABLE erp.invoice (
    dataareaid text, invoice_id text, document_type smallint NOT NULL, customer_no text, currency character(3),
    invoice_date date, status smallint NOT NULL, net numeric(14, 2), corrects text, posted_at timestamptz,
    PRIMARY KEY (dataareaid, invoice_id)
);
-- No primary key: deletes need the old row, and the connector is told what the key is (message.key.columns).
CREATE TABLE erp.invoice_hours (
    dataareaid text NOT NULL, invoice_id text NOT NULL, line_no integer NOT NULL, ext_origin_ref text NOT NULL,
    credit boolean NOT NULL, hours numeric(8, 4) NOT NULL, amount numeric(14, 2) NOT NULL, currency character(3) NOT NULL
);
ALTER TABLE erp.invoice_hours REPLICA IDENTITY FULL;
CREATE TABLE erp.write_off (
    write_off_no text PRIMARY KEY, ext_origin_ref text NOT NULL, hours numeric(8, 4) NOT NULL, reason text
);

CREATE TABLE "time".account (id integer PRIMARY KEY, employee_number text NOT NULL, enabled boolean NOT NULL DEFAULT true);
CREATE TABLE "time".project (
    id integer PRIMARY KEY, number text NOT NULL, name text, visible boolean NOT NULL DEFAULT true, billable boolean NOT NULL
);
CREATE TABLE "time".timesheet (
    id bigint PRIMARY KEY, account_id integer NOT NULL REFERENCES "time".account, project_id integer NOT NULL REFERENCES "time".project,
    worked_on date NOT NULL, time_zone text NOT NULL, minutes integer NOT NULL, activity text NOT NULL, role text,
    billable boolean NOT NULL, status text NOT NULL, submitted_at timestamptz, approved_at timestamptz, approver text,
    description text
);
-- Long notes lie out of line and unpacked, so updates that do not touch them do not say them.
ALTER TABLE "time".timesheet ALTER COLUMN description SET STORAGE EXTERNAL;
