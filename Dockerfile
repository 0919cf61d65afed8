# syntax=docker/dockerfile:1
# Two stages: a builder that needs the repository alone (no protoc, no cmake), and
# a slim runtime. No test builds this image, because that takes a container
# builder; `docker build -t stockroom .` is the check.
#
#   docker run -p 50051:50051 -v stockroom:/var/lib/stockroom stockroom

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# The caches outlive a build, so the binary has to leave the target folder here.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin stockroom \
    && install -D -m 755 target/release/stockroom /out/stockroom

# The same Debian as the builder, for its C library.
FROM debian:bookworm-slim
COPY --from=build /out/stockroom /usr/local/bin/stockroom
# A number rather than a name, so that Kubernetes' runAsNonRoot can check it.
RUN install -d -o 65532 -g 65532 -m 750 /var/lib/stockroom
USER 65532:65532
# The embedded store is `stockroom.db` in the working directory.
WORKDIR /var/lib/stockroom
VOLUME /var/lib/stockroom
ENV STOCKROOM_SERVER_LISTEN=0.0.0.0:50051 STOCKROOM_HTTP_LISTEN=0.0.0.0:9464
EXPOSE 50051 9464
# SIGTERM, which `docker stop` sends, drains within a bound.
ENTRYPOINT ["stockroom"]
CMD ["serve"]
