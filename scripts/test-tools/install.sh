# Sourced by setup-test-tools.sh: how packages of Debian are installed, and how it gives up.
# shellcheck shell=bash

fail() {
    printf '\nerror: %s\n' "$*"
    exit 1
}

# fail_skippable PART TEXT…: as fail, and says how to do without.
fail_skippable() {
    local part=$1
    shift
    fail "$*
(STOCKROOM_TEST_SKIP=$part leaves it out, with the tests that need it; several parts: a comma list)"
}

# as_root COMMAND…: as root, or through sudo.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

# What says whether servers start with their packages.
POLICY=/usr/sbin/policy-rc.d

# Seconds to wait for an apt that somebody else runs.
readonly APT_WAITS=(-o DPkg::Lock::Timeout=300)

# apt_install PACKAGE…: from Debian. Servers among them are not started: where nobody has a
# say in that yet (policy-rc.d), we do while apt runs.
apt_install() {
    command -v apt-get >/dev/null ||
        fail "$* is missing and this is not a Debian (no apt-get): install it and run this again"
    [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null ||
        fail "$* is missing and installing it takes root: run 'apt-get install $*' as root and run this again"
    printf 'installing %s from Debian\n' "$*"
    as_root apt-get "${APT_WAITS[@]}" update -qq || fail "apt-get update failed, see above"
    as_root env DEBIAN_FRONTEND=noninteractive sh -c '
        policy=$1
        shift
        if [ ! -e "$policy" ]; then
            trap "rm -f $policy" EXIT
            trap "exit 130" INT TERM HUP
            # 101: the action is not allowed.
            printf "#!/bin/sh\nexit 101\n" >"$policy"
            chmod 755 "$policy"
        fi
        apt-get "$@"
    ' apt_install "$POLICY" \
        "${APT_WAITS[@]}" install -y -qq --no-install-recommends "$@" </dev/null ||
        fail "apt-get could not install $*, see above"
}

# at_least FOUND WANTED: whether version FOUND, of numbers and dots, is WANTED or newer.
at_least() {
    [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}
