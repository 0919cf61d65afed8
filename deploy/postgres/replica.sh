#!/bin/sh
# A streaming replica of `postgres`: begins with a backup of it, once, and follows it.
set -eu
# What a backup begins with, `backup_label`, a server takes away when it first starts on it, and
# what it ends with is `pg_control`. So what is there otherwise comes from an attempt that was
# killed, of which PostgreSQL would never start; what a server has run on stays, which may be a
# primary by now.
has_run() { [ -e "$PGDATA/global/pg_control" ] && [ ! -e "$PGDATA/backup_label" ]; }
if ! has_run; then
    find "$PGDATA" -mindepth 1 -delete
    # PostgreSQL refuses a folder that others may read.
    chmod 700 "$PGDATA"
    pg_basebackup --host=postgres --username="$PGUSER" --pgdata="$PGDATA" \
        --write-recovery-conf --checkpoint=fast
fi
exec postgres
