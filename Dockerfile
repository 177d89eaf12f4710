# Two images, for machines with a container engine: each holds one static program and the CA certificates, nothing else.
#
#   docker build --target operator -t vectoll/operator .
#   docker build --target sidecar -t vectoll/sidecar .
#
# `make images` makes the same images without an engine and without a registry.

FROM rust:1.95-bookworm AS build
WORKDIR /vectoll
# rust-toolchain.toml would have rustup fetch what only developers need.
ENV RUSTUP_TOOLCHAIN=1.95.0
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*
COPY . .
# .cargo/config.toml makes the programs static.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/vectoll/target \
    cargo build --release --locked -p vectoll-operator --bin vectoll-operator -p vectoll-sidecar --bin vectoll-sidecar \
    && mkdir /programs && cp target/*/release/vectoll-operator target/*/release/vectoll-sidecar /programs/

FROM scratch AS base
COPY LICENSE NOTICE /
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# By number, so that Kubernetes can see that it is not root.
USER 65532:65532
LABEL org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0"

FROM base AS operator
COPY --from=build /programs/vectoll-operator /vectoll-operator
LABEL org.opencontainers.image.title="vectoll-operator" \
      org.opencontainers.image.description="Turns ApiKey, Team and ModelRoute resources into config for Vectoll's sidecars"
EXPOSE 8080 9443
ENTRYPOINT ["/vectoll-operator"]

FROM base AS sidecar
COPY --from=build /programs/vectoll-sidecar /vectoll-sidecar
LABEL org.opencontainers.image.title="vectoll-sidecar" \
      org.opencontainers.image.description="Serves OpenAI-compatible embeddings on localhost, held to limits and budgets"
EXPOSE 4000 4001
ENTRYPOINT ["/vectoll-sidecar"]
