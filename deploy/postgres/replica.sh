#!/bin/sh
# A streaming replica of `postgres`: begins with a backup of it, once, and follows it.
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    # What an attempt that broke off has left.
    find "$PGDATA" -mindepth 1 -delete
    # PostgreSQL refuses a folder that others may read.
    chmod 700 "$PGDATA"
    pg_basebackup --host=postgres --username="$PGUSER" --pgdata="$PGDATA" \
        --write-recovery-conf --checkpoint=fast
fi
exec postgres
