# The registry service. Build from the repository root:
#   docker build -f deploy/docker/registry.Dockerfile -t brandloom-registry .
FROM python:3.11-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python -m venv /opt/brandloom
ENV PATH=/opt/brandloom/bin:$PATH
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY brandloom brandloom
COPY buf buf
COPY servicekit servicekit
COPY lorakit lorakit
COPY services/registry services/registry
RUN pip install --constraint constraints.txt ".[registry]" \
    && if python -c "import torch" 2>/dev/null; then echo "torch does not belong here" >&2; exit 1; fi

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/brandloom brandloom
COPY --from=build /opt/brandloom /opt/brandloom
ENV PATH=/opt/brandloom/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    BRANDLOOM_HOME=/var/lib/brandloom \
    BRANDLOOM_LOG_FORMAT=json \
    BRANDLOOM_REGISTRY_LISTEN=0.0.0.0:50051 \
    BRANDLOOM_REGISTRY_METRICS_LISTEN=0.0.0.0:9101
USER 10001:10001
WORKDIR /var/lib/brandloom
VOLUME /var/lib/brandloom
EXPOSE 50051 9101
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=6 \
  CMD ["python", "-m", "servicekit.probe", "127.0.0.1:50051"]
ENTRYPOINT ["python", "-m", "services.registry"]
