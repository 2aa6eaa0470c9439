# Triton on a GPU: NVIDIA's container with TensorRT-LLM, our models, and one worker for each GPU.
# The engine is not in it: engines belong to a card and are mounted at /engines (docs/production.md).
#
#   docker build -f docker/triton.Dockerfile --build-arg VERSION=0.1.0 -t ragfleet-triton:0.1.0 .
#
# By tag: NVIDIA's registry could not be asked for the digest where this was written. Pin it before you deploy:
#   docker buildx imagetools inspect nvcr.io/nvidia/tritonserver:26.07-trtllm-python-py3
ARG BASE=nvcr.io/nvidia/tritonserver:26.07-trtllm-python-py3

# hadolint ignore=DL3006
FROM ${BASE} AS packages
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
WORKDIR /build
COPY pyproject.toml docker/requirements.py docker/triton.lock ./
# The environment sees NVIDIA's packages (torch, transformers, numpy, tensorrt_llm) and may not replace one of them: of the lock
# (`make lock`: versions and hashes) comes what the container does not hold. The last line but one fails where a requirement of ours
# is not met then; it can install nothing.
# hadolint ignore=DL3013
RUN python3 -m pip list --format=freeze > container.txt \
    && awk -F== 'NR == FNR {name = tolower($1); gsub("_", "-", name); held[name]; next} /^[a-z]/ {keep = !($1 in held)} keep' \
        container.txt triton.lock > missing.lock \
    && python3 requirements.py pyproject.toml worker > requirements.txt \
    && (python3 -m venv --system-site-packages /opt/venv \
        || { python3 -m pip install --no-cache-dir virtualenv==20.35.4 \
             && python3 -m virtualenv --system-site-packages --no-setuptools /opt/venv; }) \
    && /opt/venv/bin/python -m pip install --no-cache-dir --only-binary :all: --no-deps --require-hashes -r missing.lock \
    && /opt/venv/bin/python -m pip install --no-index -r requirements.txt \
    && /opt/venv/bin/python -m pip uninstall -y pip

# hadolint ignore=DL3006
FROM ${BASE}
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Ragfleet Triton" \
    org.opencontainers.image.description="Triton with TensorRT-LLM and Ragfleet's models, one worker for each GPU" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
RUN useradd --no-log-init --uid 10001 --home-dir /var/lib/ragfleet --create-home --shell /usr/sbin/nologin ragfleet
COPY --from=packages /opt/venv /opt/venv
WORKDIR /opt/ragfleet
COPY worker ./worker
COPY tokens ./tokens
COPY build_scripts ./build_scripts
COPY model_repository ./model_repository
COPY docker/entrypoint.sh docker/healthcheck.py ./
RUN /opt/venv/bin/python -m compileall -q worker tokens build_scripts model_repository
# The rule takes TOKENIZER for a token.
# hadolint ignore=DL3064
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/opt/ragfleet \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HF_HUB_OFFLINE=1 \
    RAGFLEET_VERSION=${VERSION} \
    RAGFLEET_HOME=/var/lib/ragfleet \
    RAGFLEET_TOKENIZER_DIR=/engines/tokenizer
USER 10001:10001
VOLUME /var/lib/ragfleet
EXPOSE 8101 8102 8103
# The first instance of the container. Consul watches each of them; this only tells Docker that the container works.
HEALTHCHECK --interval=10s --timeout=5s --start-period=600s --retries=3 \
    CMD ["python", "-I", "/opt/ragfleet/healthcheck.py"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/ragfleet/entrypoint.sh"]
CMD ["worker", "--name=gpu", "--all-gpus", "--flavour=tensorrtllm"]
