# Two images with the locked packages: "backend" (server and workers) and "label-studio".
# plugin_config/compose.yaml builds and connects them.
# `make pin-images` writes the digests of all base images into plugin_config/.env.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm
FROM ${PYTHON_IMAGE} AS base
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1
RUN useradd --create-home --uid 1001 app && mkdir /data && chown app /data
WORKDIR /app
VOLUME /data

FROM base AS label-studio
COPY requirements-label-studio.lock ./
RUN pip install --no-deps --require-hashes -r requirements-label-studio.lock
USER app
ENV LABEL_STUDIO_BASE_DATA_DIR=/data
EXPOSE 8080
CMD ["label-studio", "start", "--no-browser", "--internal-host", "0.0.0.0", "--port", "8080"]

FROM base AS backend
# Package index for torch alone. PyTorch's index of CPU builds makes a smaller image.
ARG TORCH_INDEX=""
COPY requirements-torch.* requirements.lock ./
# The lock with hashes exists after `make lock-torch`, for one platform and index.
RUN pip install ${TORCH_INDEX:+--index-url $TORCH_INDEX} \
    $(test -f requirements-torch.lock && echo --no-deps --require-hashes -r requirements-torch.lock \
      || echo -r requirements-torch.txt)
RUN pip install --no-deps --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY model model
COPY training training
COPY backend backend
COPY plugin_config plugin_config
RUN pip install --no-deps --no-build-isolation .
USER app
ENV PHRASECLICK_DATA=/data
EXPOSE 9090
# Of the server; the compose file has one for each program.
HEALTHCHECK --start-period=60s CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:9090/health', timeout=3)"]
CMD ["phraseclick", "serve", "--host", "0.0.0.0", "--port", "9090"]
