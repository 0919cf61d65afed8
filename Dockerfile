# syntax=docker/dockerfile:1
# Two stages: a builder that needs the repository alone (no protoc, no cmake: make, a C and a
# C++ compiler, which the Rust image has, build librdkafka), and a slim runtime whose stage runs
# nothing, so that any base with glibc will do. `make image` builds it with what there is,
# and then starts it. By hand it takes BuildKit: DOCKER_BUILDKIT=1 before Docker 23.
#
#   docker run -p 127.0.0.1:50051:50051 -v stockroom:/var/lib/stockroom stockroom
#
# Whoever reaches the port may change stock: without 127.0.0.1 it is open to other machines.
# A configuration of your own is mounted over /etc/stockroom/stockroom.toml, which says where
# to listen. Variables would say it as well, and beat whatever yours says. Flags of `serve` must
# not: the health check below sees the file and the variables, and would ask another address.

ARG RUNTIME=debian:bookworm-slim

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# The caches outlive a build, so the binary has to leave the target folder here. One folder is
# that of every checkout that is built, one at a time, and cargo compares times of files: what is
# older than the last build, of another checkout perhaps, would pass for built.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,id=stockroom-target,target=/src/target,sharing=locked \
    find build.rs src proto migrations data -type f -exec touch {} + \
    && cargo build --release --locked --bin stockroom \
    && install -D -m 755 target/release/stockroom /out/bin/stockroom \
    && install -D -m 644 deploy/image/stockroom.toml /out/stockroom.toml \
    && install -d -m 755 /out/data

# The same Debian as the builder, for its C library.
FROM ${RUNTIME} AS runtime
COPY --from=build /out/bin/stockroom /usr/local/bin/stockroom
COPY --from=build /out/stockroom.toml /etc/stockroom/stockroom.toml
# A number rather than a name, so that Kubernetes' runAsNonRoot can check it.
COPY --from=build --chown=65532:65532 /out/data /var/lib/stockroom
USER 65532:65532
# The embedded store is `stockroom.db` in the working directory.
WORKDIR /var/lib/stockroom
VOLUME /var/lib/stockroom
# Also for whoever runs a command in a container.
ENV STOCKROOM_CONFIG=/etc/stockroom/stockroom.toml
EXPOSE 50051 9464
# Not healthy until the database is there and its schema is known, nor while it drains.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 CMD ["stockroom", "health"]
# SIGTERM, which `docker stop` sends, drains within a bound.
ENTRYPOINT ["stockroom"]
CMD ["serve"]
