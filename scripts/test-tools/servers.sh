# Sourced by setup-test-tools.sh: PostgreSQL, Redis, nginx and libfaketime, as Debian packages them. Some
# systems start services of their own from these packages: the tests neither use nor touch
# them, and start private ones on ports that the system chooses.
# shellcheck shell=bash

# The oldest PostgreSQL that the SQL is written for.
readonly POSTGRES_MIN=15
# The oldest Redis that the cache and its cluster are tested on.
readonly REDIS_MIN=7.0
# The oldest nginx whose `grpc_pass` balances by call and is known to work here.
readonly NGINX_MIN=1.20

# postgres_major INITDB: its major version, or 0.
postgres_major() {
    local version
    version=$("$1" --version 2>/dev/null) || version=""
    [[ $version =~ ([0-9]+)(\.[0-9]+|devel|beta|rc) ]] && echo "${BASH_REMATCH[1]}" || echo 0
}

# find_postgres: the folder of an initdb and a postgres new enough, or nothing. Debian keeps
# them off PATH.
find_postgres() {
    local initdb bin
    for initdb in "$(command -v initdb || true)" /usr/lib/postgresql/*/bin/initdb; do
        [ -x "$initdb" ] || continue
        # A link on PATH may stand in a folder without the server.
        bin=$(dirname "$(readlink -f "$initdb")")
        if [ -x "$bin/postgres" ] && [ "$(postgres_major "$initdb")" -ge "$POSTGRES_MIN" ]; then
            echo "$bin"
            return
        fi
    done
}

setup_postgres() {
    local bin
    bin=$(find_postgres)
    if [ -z "$bin" ]; then
        # Whichever the release has: 15 on Debian 12, 16 on Ubuntu 24.04, 17 on Debian 13.
        apt_install postgresql
        bin=$(find_postgres)
        [ -n "$bin" ] || fail_skippable postgres \
            "the release's PostgreSQL was installed, but there is none of $POSTGRES_MIN or newer in /usr/lib/postgresql"
    fi
    echo "PostgreSQL $("$bin/postgres" --version | awk '{ print $3 }') at $bin"
    export_tool STOCKROOM_TEST_POSTGRES_BIN "$bin"
}

# find_program NAME: its path, also where only root's PATH leads; or nothing.
find_program() {
    PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" command -v "$1" || true
}

# redis_version REDIS_SERVER
redis_version() {
    "$1" --version 2>/dev/null | sed -n 's/.* v=\([0-9.]*\).*/\1/p'
}

setup_redis() {
    local server version
    server=$(find_program redis-server)
    if [ -z "$server" ]; then
        apt_install redis-server
        server=$(find_program redis-server)
        [ -n "$server" ] || fail_skippable redis "Redis was installed, but there is no redis-server"
    fi
    version=$(redis_version "$server")
    at_least "${version:-0}" "$REDIS_MIN" || fail_skippable redis \
        "the tests take Redis $REDIS_MIN or newer, and $server is '$version'"
    echo "Redis $version at $server"
    export_tool STOCKROOM_TEST_REDIS_SERVER "$server"
}

# nginx_version NGINX
nginx_version() {
    "$1" -v 2>&1 | sed -n 's/.*nginx\/\([0-9.]*\).*/\1/p'
}

setup_nginx() {
    local nginx version
    nginx=$(find_program nginx)
    if [ -z "$nginx" ]; then
        apt_install nginx
        nginx=$(find_program nginx)
        [ -n "$nginx" ] || fail_skippable nginx "nginx was installed, but there is no nginx"
    fi
    version=$(nginx_version "$nginx")
    at_least "${version:-0}" "$NGINX_MIN" || fail_skippable nginx \
        "the tests take nginx $NGINX_MIN or newer, and $nginx is '$version'"
    "$nginx" -V 2>&1 | grep -q http_v2_module || fail_skippable nginx \
        "$nginx is built without HTTP/2, which gRPC takes"
    echo "nginx $version at $nginx"
    export_tool STOCKROOM_TEST_NGINX "$nginx"
}

# find_faketime: the path of its library, or nothing.
find_faketime() {
    local library
    for library in /usr/lib/*/faketime/libfaketime.so.1 /usr/lib*/faketime/libfaketime.so.1; do
        [ -f "$library" ] || continue
        echo "$library"
        return
    done
}

setup_faketime() {
    local library
    library=$(find_faketime)
    if [ -z "$library" ]; then
        apt_install libfaketime
        library=$(find_faketime)
        [ -n "$library" ] || fail_skippable faketime "libfaketime was installed, but it is nowhere"
    fi
    echo "libfaketime at $library"
    export_tool STOCKROOM_TEST_FAKETIME "$library"
}
