# scimgate without a Functions host, for Azure Container Apps or anything else that runs containers: docs/deploy.md, "Container Apps".
FROM rust:1.95.0-slim-bookworm AS build
# A build image that is thrown away: whichever musl-tools Debian 12 has will do.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends musl-tools \
    && rm -rf /var/lib/apt/lists/* \
    && rustup target add x86_64-unknown-linux-musl
WORKDIR /source
COPY . .
RUN cargo build --release --locked --target x86_64-unknown-linux-musl

# Certificates and nothing else: no shell, no libraries; runs as user 65532.
FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /source/target/x86_64-unknown-linux-musl/release/scimgate /scimgate
# There is no disk to keep a store on. SCIMGATE_TABLES_ENDPOINT and SCIMGATE_PUBLIC_URL are left to whoever runs it.
ENV SCIMGATE_ADDRESS=0.0.0.0 \
    SCIMGATE_PORT=8080 \
    SCIMGATE_STORE=tables:
EXPOSE 8080
# Container Apps and Kubernetes look at probes, not at a HEALTHCHECK: /health/live, and /health/ready to be sent requests.
ENTRYPOINT ["/scimgate"]
CMD ["serve"]
