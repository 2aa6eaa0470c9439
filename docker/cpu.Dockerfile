# A whole fleet without a GPU in one image: Triton with the Python backend, llama.cpp, Milvus Lite, Consul, the gateway.
# It runs all of it (`fleet`, the default), or one Triton of a larger fleet (`worker`), as compose.yaml does.
#
#   docker build -f docker/cpu.Dockerfile --build-arg VERSION=0.1.0 -t ragfleet-cpu:0.1.0 .
#   docker run --rm --shm-size=256m -p 127.0.0.1:8000:8000 ragfleet-cpu:0.1.0
#
# The digest is the one that docker-library/repo-info publishes for this tag.
ARG BASE=debian:bookworm-20260918-slim@sha256:3783cc01769c7b2b1b83a5c5ad96c815348e28ed7da68e2e3687004faa906251
# By tag: its digest could not be looked up where this was written.
ARG CONSUL=hashicorp/consul:1.20.6

# hadolint ignore=DL3006
FROM ${CONSUL} AS consul

FROM ${BASE} AS python
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# Triton's Python stub loads libpython. Not pinned: what comes is Debian 12's Python 3.11 with its security updates.
# Tesseract reads scans (RAGFLEET_OCR_LANGUAGES).
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 libpython3.11 libgomp1 ca-certificates tesseract-ocr tesseract-ocr-eng tesseract-ocr-deu \
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
COPY docker/cpu.lock docker/tokenizer.lock ./
# The packages alone, in a layer that stays while only our code changes. `make lock` writes versions and hashes.
RUN /opt/pip/bin/pip --python /opt/venv/bin/python install --no-cache-dir --no-deps --require-hashes -r cpu.lock \
    && /opt/pip/bin/pip --python /opt/venv/bin/python install --no-cache-dir --no-deps --require-hashes -r tokenizer.lock
# PyTorch's own index has the build without CUDA, 2 GB smaller. The one package without a hash: that index could not be asked for it
# where this was written.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN /opt/pip/bin/pip --python /opt/venv/bin/python install --no-cache-dir --no-deps --index-url "$TORCH_INDEX" torch==2.13.0
COPY build_scripts ./build_scripts
COPY tokens ./tokens
RUN /opt/venv/bin/python -m build_scripts.tokenizer --out /models/smollm2 \
    && /opt/venv/bin/python -m build_scripts.onnx_embedding /models/embedding-onnx

FROM python
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Ragfleet without a GPU" \
    org.opencontainers.image.description="A fleet of Triton servers with retrieval in one image, or one CPU Triton of a larger fleet" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
RUN useradd --no-log-init --uid 10001 --home-dir /var/lib/ragfleet --create-home --shell /usr/sbin/nologin ragfleet
COPY --from=consul /bin/consul /usr/local/bin/consul
COPY --from=packages /opt/venv /opt/venv
COPY --from=packages /models /models
WORKDIR /opt/ragfleet
COPY gateway ./gateway
COPY assistants ./assistants
COPY worker ./worker
COPY ragfleet ./ragfleet
COPY build_scripts ./build_scripts
COPY tokens ./tokens
COPY consul ./consul
COPY model_repository ./model_repository
COPY examples ./examples
COPY docker/entrypoint.sh docker/healthcheck.py ./
RUN /opt/venv/bin/python -m compileall -q gateway worker ragfleet build_scripts tokens model_repository
# The rule takes TOKENIZER for a token.
# hadolint ignore=DL3064
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/opt/ragfleet \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HF_HUB_OFFLINE=1 \
    RAGFLEET_VERSION=${VERSION} \
    RAGFLEET_HOME=/var/lib/ragfleet \
    RAGFLEET_GATEWAY_HOST=0.0.0.0 \
    RAGFLEET_TOKENIZER_DIR=/models/smollm2 \
    RAGFLEET_EMBEDDING_ONNX=/models/embedding-onnx
USER 10001:10001
VOLUME /var/lib/ragfleet
EXPOSE 8000 8101 8102 8103
# `fleet` is asked for its gateway, `worker` for its Triton: the entrypoint writes down which.
HEALTHCHECK --interval=10s --timeout=5s --start-period=600s --retries=3 \
    CMD ["python", "-I", "/opt/ragfleet/healthcheck.py"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/ragfleet/entrypoint.sh"]
CMD ["fleet"]
