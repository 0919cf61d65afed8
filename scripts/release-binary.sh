#!/usr/bin/env bash
# Builds the release binary and prints its path. Where that is cargo alone knows: variables and
# configuration files of the machine may name another target folder.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo build --release --locked --bin stockroom --message-format json-render-diagnostics |
    sed -n 's/.*"executable":"\([^"]*\)".*/\1/p'
