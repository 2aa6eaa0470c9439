#!/bin/bash
# What compose.yaml uses of docker-library/postgres's entrypoint: a database of encoding UTF8, its user, its password.
set -euo pipefail
password=/tmp/.password
if [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA" /var/run/postgresql
    chown -R postgres:postgres "$PGDATA" /var/run/postgresql
    chmod 700 "$PGDATA"
    cp "$POSTGRES_PASSWORD_FILE" $password
    chown postgres $password
    exec setpriv --reuid postgres --regid postgres --init-groups "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    initdb --encoding=UTF8 --locale=C.UTF-8 --username="$POSTGRES_USER" --pwfile=$password --auth-local=trust \
        --auth-host=scram-sha-256 --pgdata="$PGDATA"
    echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
    pg_ctl --pgdata="$PGDATA" -o "-c listen_addresses=''" -w start
    psql --username="$POSTGRES_USER" --dbname=postgres -c "CREATE DATABASE \"$POSTGRES_DB\""
    pg_ctl --pgdata="$PGDATA" -m fast -w stop
fi
rm -f $password
exec postgres -D "$PGDATA" -c listen_addresses='*'
