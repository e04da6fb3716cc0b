#!/bin/sh
# Gives the connector's role the password that credentials.sh drew. PostgreSQL's image runs this once, on an empty volume.
set -eu
psql -v ON_ERROR_STOP=1 -v drawn="$(cat "/run/credentials/$POSTGRES_DB-connector")" -d "$POSTGRES_DB" -U "$POSTGRES_USER" <<'SQL'
ALTER ROLE tieout PASSWORD :'drawn';
SQL
