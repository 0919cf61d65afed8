#!/usr/bin/env bash
# Installs what `make test` and `make bench` need beyond Rust and a C compiler, if it is
# missing: PostgreSQL 15 or newer and grpcurl. May be run again at any time.
#
# Writes target/tools/test.env, which tells the tests what there is:
#   STOCKROOM_TEST_STORES        sqlite,postgres, or sqlite alone when PostgreSQL is skipped
#   STOCKROOM_TEST_POSTGRES_BIN  the folder of initdb and postgres; unset when skipped
#   STOCKROOM_TEST_GRPCURL       the absolute path of grpcurl
#
# STOCKROOM_TEST_SKIP=postgres is the only part that can be left out.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The oldest PostgreSQL that the SQL is written for.
readonly POSTGRES_MIN=15
# Tests call grpcurl by this path, whether it was built here or was on PATH already.
readonly GRPCURL="$PWD/target/tools/grpcurl"
readonly ENV_FILE="$PWD/target/tools/test.env"

# Everything goes to standard error in order; nobody parses it.
exec 1>&2

fail() {
    printf '\nerror: %s\n' "$*"
    exit 1
}

# apt_install PACKAGE…: from Debian, as root or through sudo.
apt_install() {
    command -v apt-get >/dev/null ||
        fail "$* is missing and this is not a Debian (no apt-get): install it and run this again"
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null ||
            fail "$* is missing and installing it takes root: run 'apt-get install $*' as root and run this again"
        as_root=(sudo)
    fi
    printf 'installing %s from Debian\n' "$*"
    "${as_root[@]}" apt-get update -qq || fail "apt-get update failed, see above"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$@" </dev/null ||
        fail "apt-get could not install $*, see above"
}

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

# go_minor: N of Go 1.N, or 0 without Go.
go_minor() {
    local version
    version=$(go version 2>/dev/null) || version=""
    [[ $version =~ go1\.([0-9]+) ]] && echo "${BASH_REMATCH[1]}" || echo 0
}

# grpcurl_version: of $GRPCURL, from what Go recorded in it ("dev build" is all that a build
# by `go install` says of itself).
grpcurl_version() {
    local version=""
    if command -v go >/dev/null; then
        version=$(go version -m "$(readlink -f "$GRPCURL")" 2>/dev/null |
            awk '$1 == "mod" && $2 ~ /grpcurl$/ { print $3 }') || version=""
    fi
    [ -n "$version" ] && echo "$version" || "$GRPCURL" -version 2>&1 | sed 's/^grpcurl //'
}

works() { [ -x "$1" ] && "$1" -version >/dev/null 2>&1; }

setup_postgres() {
    postgres_bin=$(find_postgres)
    if [ -z "$postgres_bin" ]; then
        # Debian may start a cluster of its own on port 5432: tests neither use nor touch it.
        apt_install "postgresql-$POSTGRES_MIN"
        postgres_bin=$(find_postgres)
        [ -n "$postgres_bin" ] || fail "PostgreSQL was installed, but there is no initdb in /usr/lib/postgresql"
    fi
    echo "PostgreSQL $("$postgres_bin/postgres" --version | awk '{ print $3 }') at $postgres_bin"
}

setup_grpcurl() {
    if ! works "$GRPCURL"; then
        rm -f "$GRPCURL"
        local on_path
        on_path=$(command -v grpcurl || true)
        if [ -n "$on_path" ] && works "$on_path"; then
            ln -s "$on_path" "$GRPCURL"
        else
            build_grpcurl
        fi
    fi
    echo "grpcurl $(grpcurl_version) at $GRPCURL"
}

# The newest grpcurl that the Go at hand can build. Debian 12 has Go 1.19.
build_grpcurl() {
    command -v go >/dev/null || apt_install golang-go ca-certificates
    local minor version
    minor=$(go_minor)
    if [ "$minor" -ge 25 ]; then
        version=v1.9.4
    elif [ "$minor" -ge 21 ]; then
        version=v1.9.3
    elif [ "$minor" -ge 19 ]; then
        version=v1.9.1
    else
        fail "grpcurl takes Go 1.19 or newer, and this is '$(go version 2>&1)': install a newer Go, or put grpcurl on PATH"
    fi
    echo "building grpcurl $version with $(go version | awk '{ print $3 }') (a minute or two, once)"
    GOBIN=$(dirname "$GRPCURL") go install "github.com/fullstorydev/grpcurl/cmd/grpcurl@$version" ||
        fail "go install of grpcurl $version failed, see above; a grpcurl on PATH is taken as well"
    works "$GRPCURL" || fail "grpcurl was built, but $GRPCURL does not run"
}

stores=sqlite,postgres
postgres_bin=""
case "${STOCKROOM_TEST_SKIP:-}" in
"") ;;
postgres) stores=sqlite ;;
*) fail "STOCKROOM_TEST_SKIP=$STOCKROOM_TEST_SKIP: only 'postgres' can be skipped" ;;
esac

mkdir -p "$(dirname "$ENV_FILE")"
# A run that fails leaves no list of tools from the run before.
rm -f "$ENV_FILE"

if [ "$stores" = sqlite ]; then
    cat <<'SKIPPED'
********************************************************************************
*  SKIPPED: PostgreSQL (STOCKROOM_TEST_SKIP=postgres).                         *
*  The tests run on SQLite alone: this run says nothing about PostgreSQL.      *
********************************************************************************
SKIPPED
else
    setup_postgres
fi
setup_grpcurl

{
    printf 'export STOCKROOM_TEST_STORES=%q\n' "$stores"
    printf 'export STOCKROOM_TEST_GRPCURL=%q\n' "$GRPCURL"
    if [ -n "$postgres_bin" ]; then
        printf 'export STOCKROOM_TEST_POSTGRES_BIN=%q\n' "$postgres_bin"
    else
        printf 'unset STOCKROOM_TEST_POSTGRES_BIN\n'
    fi
} >"$ENV_FILE"
