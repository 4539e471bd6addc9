# Ragstone with its default embedding model: no network is needed at run time.
#
#   docker build --tag ragstone .
#   docker run --publish 127.0.0.1:7272:7272 --volume ragstone:/data --env RAGSTONE_API_KEY=… ragstone
#
# RAGSTONE_API_KEY is required, with at least 16 bytes: the container listens on all its interfaces,
# and the server refuses that without a key. Clients send it as `Authorization: Bearer <key>`.
# Instead, a configuration file may name keys by hash: mount it and set RAGSTONE_CONFIG.
# Any other command works too: `docker run … ragstone --help`. Building needs BuildKit (Docker 23 or newer) or Podman.

FROM rust:1-bookworm AS build
RUN apt-get update && apt-get install --yes --no-install-recommends mold && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# The caches outlive a build, so the program is copied out of the one it was built in.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    mold -run cargo build --release --locked && install -D target/release/ragstone /out/ragstone

FROM python:3.13-slim-bookworm AS model
COPY models /models
# Checked against the sha256 in models/manifest.toml.
RUN /models/pull

FROM debian:bookworm-slim
# The certificates are for a language model behind https; nothing else leaves the container.
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 7272 --no-create-home --shell /usr/sbin/nologin ragstone \
    && install --directory --owner=ragstone --group=ragstone --mode=0700 /data
COPY --from=build /out/ragstone /usr/local/bin/ragstone
COPY --from=model /models /usr/share/ragstone/models
ENV RAGSTONE_LISTEN=0.0.0.0:7272 \
    RAGSTONE_DATA_DIR=/data \
    RAGSTONE_MODELS_DIR=/usr/share/ragstone/models \
    RAGSTONE_LOG_FORMAT=json
# The user ragstone, as a number so that an orchestrator can see that it is not root.
USER 7272
WORKDIR /data
VOLUME /data
EXPOSE 7272
# Opening a large store and its views can take a while; until then it is only "starting".
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 CMD ["ragstone", "health"]
ENTRYPOINT ["ragstone"]
CMD ["serve"]
