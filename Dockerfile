# syntax=docker/dockerfile:1
# The wasmill binary, in an image with nothing else but what it links: glibc and certificates.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# The caches outlive the layer, so that a change of the sources does not compile the dependencies again.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --profile dist --locked --package wasmill \
    && install -D target/dist/wasmill /out/wasmill \
    && install -d -o 65532 -g 65532 /out/cache

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /out/wasmill /usr/local/bin/wasmill
COPY --from=build --chown=65532:65532 /out/cache /var/cache/wasmill
ENV WASMILL_ENGINE_CACHE_DIR=/var/cache/wasmill \
    WASMILL_LOG_FORMAT=json
USER 65532
ENTRYPOINT ["/usr/local/bin/wasmill"]
