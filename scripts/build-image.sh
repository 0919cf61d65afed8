#!/usr/bin/env bash
# Builds the container image `stockroom` (STOCKROOM_IMAGE) with docker, podman or buildah,
# starts it, and asks it whether it serves.
#
# Where the images that Dockerfile begins with cannot be had, buildah takes a base that
# debootstrap makes of the Debian that this machine runs, and the binary that cargo makes
# here: the same runtime stage on the same C library. That takes root.
#
# STOCKROOM_IMAGE_BINARY names a binary to put into such an image instead of building one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly IMAGE=${STOCKROOM_IMAGE:-stockroom}
readonly WORK="$PWD/target/image"
# What debootstrap makes is kept under this name and used again.
readonly BASE=localhost/stockroom-base
# The container's health must be good within this.
readonly HEALTHY_SECONDS=30

fail() {
    printf '\nerror: %s\n' "$*" >&2
    exit 1
}

# runtime_image: what the runtime stage of Dockerfile begins with.
runtime_image() { sed -n 's/^ARG RUNTIME=//p' Dockerfile; }

# mirror: where apt here gets this suite from; debootstrap is to use the same.
mirror() {
    apt-get indextargets --format '$(SITE) $(RELEASE) $(COMPONENT)' |
        awk -v suite="$1" '$2 == suite && $3 == "main" { print $1; exit }'
}

# make_base: a minimal Debian as an image.
make_base() {
    buildah inspect --type image "$BASE" >/dev/null 2>&1 && return
    [ "$(id -u)" -eq 0 ] || fail "debootstrap takes root: run this as root"
    command -v debootstrap >/dev/null || fail "debootstrap is missing: apt-get install debootstrap"
    local suite proxy root="$WORK/root" container
    suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
    # debootstrap does not ask apt how to get out.
    proxy=$(apt-config dump --format '%v%n' Acquire::http::Proxy)
    [ -z "$proxy" ] || export http_proxy=${http_proxy:-$proxy}
    rm -rf "$root"
    mkdir -p "$root"
    echo "making a base of Debian $suite with debootstrap"
    debootstrap --variant=minbase "$suite" "$root" "$(mirror "$suite")" >"$WORK/debootstrap.log" 2>&1 ||
        fail "debootstrap failed: $(tail -n 5 "$WORK/debootstrap.log")"
    # What the slim images leave out, too.
    rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/* \
        "$root"/usr/share/{doc,man,info,locale,lintian}/*
    container=$(buildah from scratch)
    buildah add -q "$container" "$root" / >/dev/null
    buildah commit -q --rm "$container" "$BASE" >/dev/null
    rm -rf "$root"
}

# binary: the path of the release binary, built if none is named.
binary() {
    if [ -n "${STOCKROOM_IMAGE_BINARY:-}" ]; then
        echo "$STOCKROOM_IMAGE_BINARY"
        return
    fi
    scripts/release-binary.sh
}

# The runtime stage alone, on what this machine has instead of the first stage.
build_here() {
    echo "$(runtime_image) cannot be had: building on a base from debootstrap, with the binary of this machine"
    local binary
    # On a line of its own: as an argument it would fail without ending this.
    binary=$(binary)
    mkdir -p "$WORK"
    make_base
    rm -rf "$WORK/context"
    install -D -m 755 "$binary" "$WORK/context/out/bin/stockroom"
    install -D -m 644 deploy/image/stockroom.toml "$WORK/context/out/stockroom.toml"
    install -d -m 755 "$WORK/context/out/data"
    # Without the first stage, whose files are those of the context.
    sed -e '/^FROM .* AS build$/,/^FROM /{/^FROM \${RUNTIME}/!d}' -e 's/^COPY --from=build /COPY /' \
        Dockerfile >"$WORK/Dockerfile"
    buildah build --format docker --isolation chroot --build-arg RUNTIME="$BASE" \
        -f "$WORK/Dockerfile" -t "$IMAGE" "$WORK/context"
}

# HEALTHCHECK is not in OCI's format, which is what podman and buildah make by themselves.
build() {
    case $builder in
    # Docker before 23 builds with BuildKit, which knows RUN --mount, only where it is asked to.
    docker) DOCKER_BUILDKIT=1 docker build -t "$IMAGE" . ;;
    podman) podman build --format docker -t "$IMAGE" . ;;
    buildah)
        if timeout 60 buildah pull -q "$(runtime_image)" >/dev/null 2>&1; then
            buildah build --format docker -t "$IMAGE" .
        else
            build_here
        fi
        ;;
    esac
}

# in_image COMMAND…: in a container of the image, as its user.
in_image() {
    case $builder in
    docker | podman) "$builder" run --rm --entrypoint "" "$IMAGE" "$@" ;;
    buildah)
        local container code=0
        container=$(buildah from --pull-never "$IMAGE")
        buildah run --isolation chroot "$container" -- "$@" || code=$?
        buildah rm "$container" >/dev/null
        return "$code"
        ;;
    esac
}

# check: that what was built runs, serves, says so, drains on SIGTERM, and is asked for its health.
check() {
    local described
    described=$("$builder" inspect --type image "$IMAGE")
    grep -Eiq '"healthcheck": *\{' <<<"$described" || fail "the image has no health check"
    in_image stockroom --version
    # A chroot shares the ports of this machine: not those that a server may have here.
    in_image sh -euc '
        export STOCKROOM_SERVER_LISTEN=127.0.0.1:$1 STOCKROOM_HTTP_LISTEN=off
        stockroom serve & server=$!
        left=$2
        until stockroom health; do
            left=$((left - 1))
            [ "$left" -gt 0 ] && kill -0 $server || exit 1
            sleep 1
        done
        echo "user $(id -u), $(pwd): $(ls)"
        kill $server
        wait $server
    ' check "$(shuf -i 20000-30000 -n 1)" "$HEALTHY_SECONDS" ||
        fail "the image does not serve, see above"
}

builder=""
for candidate in docker podman buildah; do
    if command -v "$candidate" >/dev/null && "$candidate" info >/dev/null 2>&1; then
        builder=$candidate
        break
    fi
done
[ -n "$builder" ] || fail "building an image takes docker, podman or buildah (apt-get install buildah debootstrap)"
echo "building $IMAGE with $builder"
build
check
size=$("$builder" images --format '{{.Size}}' "$IMAGE" | head -n 1)
echo "built and started $IMAGE ($size)"
