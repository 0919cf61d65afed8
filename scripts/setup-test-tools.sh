#!/usr/bin/env bash
# Finds, or installs, what `make test` and `make bench` need beyond Rust, make, and a C and a
# C++ compiler, and names the versions. May be run again at any time.
#
# Writes target/tools/test.env, which tells the tests what there is:
#   STOCKROOM_TEST_STORES        sqlite,postgres, or sqlite alone when PostgreSQL is skipped
#   STOCKROOM_TEST_GRPCURL       the path of grpcurl
#   STOCKROOM_TEST_POSTGRES_BIN  the folder of initdb and postgres (15 or newer)
#   STOCKROOM_TEST_REDIS_SERVER  the path of redis-server (7.0 or newer)
#   STOCKROOM_TEST_KAFKA_LIBS    the folder of Apache Kafka's jars; `java` on PATH runs them
#   STOCKROOM_TEST_NGINX         the path of nginx, with HTTP/2
#   STOCKROOM_TEST_KUSTOMIZE     the path of kustomize
#   STOCKROOM_TEST_FAKETIME      the path of libfaketime, which sets the clock of one process
#   STOCKROOM_TEST_BUF           the path of buf, where there is one
#   STOCKROOM_TEST_SKIPPED       what was skipped
# All paths are absolute; what is skipped is unset.
#
# STOCKROOM_TEST_SKIP, a comma list of grpcurl, postgres, redis, kafka, nginx, kustomize and
# faketime, leaves these out, with the tests that need them. STOCKROOM_TEST_WITH=buf builds buf
# where there is none.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly TOOLS="$PWD/target/tools"
readonly ENV_FILE="$TOOLS/test.env"
readonly SKIPPABLE=(grpcurl postgres redis kafka nginx kustomize faketime)
# Blanks separate as commas do: `kafka, nginx` is both of them.
STOCKROOM_TEST_SKIP=${STOCKROOM_TEST_SKIP:-}
readonly STOCKROOM_TEST_SKIP=${STOCKROOM_TEST_SKIP//[[:space:]]/,}

# Everything goes to standard error in order; nobody parses it.
exec 1>&2

for part in install servers kafka go_tools; do
    # shellcheck source=/dev/null
    . "scripts/test-tools/$part.sh"
done

# is_skipped PART
is_skipped() { [[ ",$STOCKROOM_TEST_SKIP," == *",$1,"* ]]; }

# check_skip: that everything in the list is something that can be skipped.
check_skip() {
    local part
    for part in ${STOCKROOM_TEST_SKIP//,/ }; do
        [[ " ${SKIPPABLE[*]} " == *" $part "* ]] ||
            fail "STOCKROOM_TEST_SKIP=$STOCKROOM_TEST_SKIP: '$part' cannot be skipped, only ${SKIPPABLE[*]}"
    done
}

# export_tool NAME VALUE
export_tool() { printf 'export %s=%q\n' "$1" "$2" >>"$PARTIAL"; }

# say_skipped PART
say_skipped() {
    cat <<SKIPPED
********************************************************************************
*  SKIPPED: $1 (STOCKROOM_TEST_SKIP).
*  Tests that need it do not run: this run says nothing about them.
********************************************************************************
SKIPPED
}

main() {
    check_skip
    mkdir -p "$TOOLS"
    # Another run may read the list meanwhile, or write its own: it is there all the while, and
    # whole. A run that fails leaves none, nor that of the run before.
    PARTIAL=$(mktemp "$ENV_FILE.XXXXXX")
    trap 'rm -f "$PARTIAL" "$ENV_FILE"' EXIT
    # What an older run exported in this shell is not what there is now.
    cat >"$PARTIAL" <<'UNSET'
unset STOCKROOM_TEST_GRPCURL STOCKROOM_TEST_POSTGRES_BIN STOCKROOM_TEST_REDIS_SERVER
unset STOCKROOM_TEST_KAFKA_LIBS STOCKROOM_TEST_NGINX STOCKROOM_TEST_KUSTOMIZE
unset STOCKROOM_TEST_FAKETIME STOCKROOM_TEST_BUF
UNSET
    local part skipped=()
    for part in "${SKIPPABLE[@]}"; do
        if is_skipped "$part"; then
            skipped+=("$part")
            say_skipped "$part"
        else
            "setup_$part"
        fi
    done
    setup_buf || {
        skipped+=(buf)
        echo "buf is not there, and its lint will not run: STOCKROOM_TEST_WITH=buf builds it"
    }
    if is_skipped postgres; then
        export_tool STOCKROOM_TEST_STORES sqlite
    else
        export_tool STOCKROOM_TEST_STORES sqlite,postgres
    fi
    export_tool STOCKROOM_TEST_SKIPPED "${skipped[*]}"
    chmod a+r "$PARTIAL"
    mv "$PARTIAL" "$ENV_FILE"
    trap - EXIT
}

main
