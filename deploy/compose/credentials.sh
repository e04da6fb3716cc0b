#!/bin/sh
# Draws the passwords of the composed databases once, into a volume that only they and Kafka Connect mount: none is in a
# file of the repository, in a variable or in Connect's own topics.
set -eu
cd /run/credentials
[ -f connect.properties ] && exit 0
draw() { head -c 24 /dev/urandom | base64 | tr '+/' '-_'; }
for database in psa erp; do
  draw > "$database-admin"
  draw > "$database-connector"
  echo "$database=$(cat "$database-connector")" >> drawn
done
chmod 0444 psa-* erp-* drawn
mv drawn connect.properties
