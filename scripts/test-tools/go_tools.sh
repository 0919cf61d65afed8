# Sourced by setup-test-tools.sh: grpcurl and kustomize, which are built by Go unless they are
# on PATH, and buf, which is built when it is asked for. Each in the newest version that the Go
# at hand can build: Debian 12 has Go 1.19.
# shellcheck shell=bash

# Tests call them by these paths, whether they were built here or were on PATH already.
readonly GRPCURL="$TOOLS/grpcurl"
readonly KUSTOMIZE="$TOOLS/kustomize"
readonly BUF="$TOOLS/buf"

# go_minor: N of Go 1.N, or 0 without Go.
go_minor() {
    local version
    version=$(go version 2>/dev/null) || version=""
    [[ $version =~ go1\.([0-9]+) ]] && echo "${BASH_REMATCH[1]}" || echo 0
}

# go_version TOOL: from what Go recorded in it, which is more than a build by `go install`
# says of itself; or nothing.
go_version() {
    command -v go >/dev/null || return 0
    go version -m "$(readlink -f "$1")" 2>/dev/null | awk '$1 == "mod" { print $3 }' || true
}

# works PROGRAM ARGUMENT: whether it is there and runs.
works() { [ -x "$1" ] && "$1" "$2" >/dev/null 2>&1; }

# link_from_path TOOL ARGUMENT: takes the program of that name on PATH, if it runs.
link_from_path() {
    local on_path
    rm -f "$1"
    on_path=$(command -v "$(basename "$1")" || true)
    [ -n "$on_path" ] && works "$on_path" "$2" && ln -s "$on_path" "$1"
}

# go_install TOOL PACKAGE VERSION
go_install() {
    echo "building $(basename "$1") $3 with $(go version | awk '{ print $3 }') (a minute or two, once)"
    # Without C, which none has in it.
    CGO_ENABLED=0 GOBIN=$(dirname "$1") go install "$2@$3"
}

# build_skippable TOOL ARGUMENT PACKAGE MINOR:VERSION…: VERSION takes Go 1.MINOR or newer; the
# first that the Go at hand can build is built, and TOOL ARGUMENT has to run.
build_skippable() {
    local tool=$1 argument=$2 package=$3 name minor takes version=""
    name=$(basename "$tool")
    shift 3
    command -v go >/dev/null || apt_install golang-go ca-certificates
    minor=$(go_minor)
    for takes in "$@"; do
        if [ "$minor" -ge "${takes%%:*}" ]; then
            version=${takes#*:}
            break
        fi
    done
    [ -n "$version" ] || fail_skippable "$name" \
        "$name takes Go 1.${takes%%:*} or newer, and this is '$(go version 2>&1)': install a newer Go, or put $name on PATH"
    go_install "$tool" "$package" "$version" || fail_skippable "$name" \
        "go install of $name $version failed, see above; a $name on PATH is taken as well"
    works "$tool" "$argument" || fail_skippable "$name" "$name was built, but $tool does not run"
}

setup_grpcurl() {
    works "$GRPCURL" -version || link_from_path "$GRPCURL" -version ||
        build_skippable "$GRPCURL" -version github.com/fullstorydev/grpcurl/cmd/grpcurl \
            25:v1.9.4 21:v1.9.3 19:v1.9.1
    local version
    version=$(go_version "$GRPCURL")
    [ -n "$version" ] || version=$("$GRPCURL" -version 2>&1 | sed 's/^grpcurl //')
    echo "grpcurl $version at $GRPCURL"
    export_tool STOCKROOM_TEST_GRPCURL "$GRPCURL"
}

setup_kustomize() {
    works "$KUSTOMIZE" version || link_from_path "$KUSTOMIZE" version ||
        build_skippable "$KUSTOMIZE" version sigs.k8s.io/kustomize/kustomize/v5 \
            24:v5.8.1 23:v5.7.1 21:v5.4.3 20:v5.3.0 19:v5.0.3
    local version
    version=$(go_version "$KUSTOMIZE")
    [ -n "$version" ] || version=$("$KUSTOMIZE" version | head -n 1)
    echo "kustomize $version at $KUSTOMIZE"
    export_tool STOCKROOM_TEST_KUSTOMIZE "$KUSTOMIZE"
}

readonly BUF_VERSION=v1.75.0

build_buf() {
    [ "$(go_minor)" -ge 26 ] ||
        fail "buf $BUF_VERSION takes Go 1.26 or newer, and this is '$(go version 2>&1)': install a newer Go, or put buf on PATH"
    go_install "$BUF" github.com/bufbuild/buf/cmd/buf "$BUF_VERSION" ||
        fail "go install of buf $BUF_VERSION failed, see above; a buf on PATH is taken as well"
    works "$BUF" --version || fail "buf was built, but $BUF does not run"
}

# setup_buf: fails where there is none, unless STOCKROOM_TEST_WITH has it: then it is built. It
# takes three minutes of a core and hundreds of megabytes, to find what tests find without it.
setup_buf() {
    if ! works "$BUF" --version && ! link_from_path "$BUF" --version; then
        [[ ",${STOCKROOM_TEST_WITH:-}," == *",buf,"* ]] || return 1
        build_buf
    fi
    echo "buf $("$BUF" --version) at $BUF"
    export_tool STOCKROOM_TEST_BUF "$BUF"
}
