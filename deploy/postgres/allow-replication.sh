#!/bin/sh
# Run once by the image of PostgreSQL when it makes its data: lets a replica with the
# password follow, which the image allows no more than any other connection by itself.
set -eu
echo 'host replication all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
