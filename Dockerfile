# Two images from one file; what both need (torch is nearly all of it) is one layer that they share.
#   docker build --target service -t fairtrigger-service .
#   docker build --target trainer -t fairtrigger-trainer .
# The locked torch brings its own CUDA libraries, so the slim base also serves GPUs. docs/deploy.md says more.
ARG BASE=python:3.11-slim-bookworm

# uv itself, version and hashes from the lock: it installs, and is in no final image
FROM ${BASE} AS uv
WORKDIR /src
COPY requirements.lock ./
RUN python -m venv /opt/uv \
 && awk '/^[a-z]/ {on = /^(uv|setuptools)==/} on' requirements.lock > /opt/uv/requirements.txt \
 && /opt/uv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r /opt/uv/requirements.txt
COPY deploy/install-locked /opt/uv/

# versions and hashes of each target, out of the lock: changes only with these three files
FROM uv AS chosen
COPY pyproject.toml deploy/subset-lock ./
ENV UV=/opt/uv/bin/uv
RUN --mount=type=cache,target=/root/.cache/uv \
    ./subset-lock > /opt/core.txt \
 && ./subset-lock service redis cloud tracing dashboard > /opt/service.txt \
 && ./subset-lock redis cloud datasets report > /opt/trainer.txt

# this project: bytecode too, as the file system is read-only later
FROM uv AS code
COPY pyproject.toml README.md LICENSE ./
COPY triggers triggers
COPY trainer trainer
COPY service service
COPY fairtrigger fairtrigger
RUN /opt/uv/bin/uv pip install --quiet --python /opt/uv/bin/python --target /app --no-deps --no-build-isolation . \
 && sed -i '1s|.*|#!/opt/fairtrigger/bin/python|' /app/bin/fairtrigger \
 && python -m compileall -q /app

# a user without a name or a password, the folders it may write to, and the packages of both targets
FROM ${BASE} AS core
ENV PATH=/opt/fairtrigger/bin:/app/bin:$PATH \
    PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    FAIRTRIGGER_STORE=/store
RUN install -d -o 10001 -g 10001 -m 0750 /store /data /models /runs
COPY --from=chosen /opt/core.txt /opt/
RUN --mount=type=cache,target=/root/.cache/uv --mount=type=bind,from=uv,source=/opt/uv,target=/opt/uv \
    /opt/uv/install-locked /opt/core.txt

FROM core AS trainer
COPY --from=chosen /opt/trainer.txt /opt/
RUN --mount=type=cache,target=/root/.cache/uv --mount=type=bind,from=uv,source=/opt/uv,target=/opt/uv \
    /opt/uv/install-locked /opt/trainer.txt
COPY --from=code /app /app
WORKDIR /work
COPY examples examples
USER 10001:10001
ENV RES_OPTIONS="timeout:1 attempts:2"
ENTRYPOINT ["python", "-m", "trainer"]
CMD ["--help"]

# last, so that it is also what `docker build .` makes
FROM core AS service
COPY --from=chosen /opt/service.txt /opt/
RUN --mount=type=cache,target=/root/.cache/uv --mount=type=bind,from=uv,source=/opt/uv,target=/opt/uv \
    /opt/uv/install-locked /opt/service.txt
COPY --from=code /app /app
WORKDIR /data
USER 10001:10001
# RES_OPTIONS: names are looked up in seconds, not most of a minute, so that a stop keeps to its time while Redis is away
ENV FAIRTRIGGER_HOST=0.0.0.0 FAIRTRIGGER_PORT=8080 FAIRTRIGGER_DATA_DIR=/data RES_OPTIONS="timeout:1 attempts:2"
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=3 \
  CMD ["python", "-S", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ['FAIRTRIGGER_PORT']}/readyz\", timeout=2)"]
ENTRYPOINT ["python", "-m", "service"]
