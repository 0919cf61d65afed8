#!/bin/sh
# A streaming replica of `postgres`: begins with a backup of it, once, and follows it.
set -eu
# Written when the backup is whole and on disk. What is there without it comes from an attempt
# that was killed, of which PostgreSQL would never start: unless a server has run on it, which
# has taken `backup_label` away, what a backup begins with. That may be a primary by now.
whole="$PGDATA/stockroom-backup-is-whole"
has_run() { [ -e "$PGDATA/global/pg_control" ] && [ ! -e "$PGDATA/backup_label" ]; }
if [ ! -e "$whole" ] && ! has_run; then
    # What an attempt that broke off has left.
    find "$PGDATA" -mindepth 1 -delete
    # PostgreSQL refuses a folder that others may read.
    chmod 700 "$PGDATA"
    pg_basebackup --host=postgres --username="$PGUSER" --pgdata="$PGDATA" \
        --write-recovery-conf --checkpoint=fast
    : >"$whole"
fi
exec postgres
