# The operator and the CLI in one image; the operator is the default command.
FROM python:3.11-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python -m venv /opt/coral
COPY requirements.lock ./
RUN /opt/coral/bin/pip install --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY solver solver
COPY operator operator
COPY e2e/coral_localcluster e2e/coral_localcluster
RUN /opt/coral/bin/pip install "hatchling>=1.33,<2" \
 && /opt/coral/bin/pip install --no-deps --no-build-isolation . \
 && /opt/coral/bin/pip uninstall --yes hatchling
# Compile the solver's kernels once, here, so that no start of the operator has to.
ENV NUMBA_CACHE_DIR=/opt/coral/numba
COPY examples examples
RUN /opt/coral/bin/coral plan -f examples/three-models.yaml --inventory examples/inventory.csv \
      --cache-dir /tmp/templates --output json > /dev/null

FROM python:3.11-slim
LABEL org.opencontainers.image.title="coral" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.description="Joint placement of many LLMs on mixed GPUs"
COPY --from=build /opt/coral /opt/coral
ENV PATH=/opt/coral/bin:$PATH PYTHONUNBUFFERED=1 NUMBA_CACHE_DIR=/opt/coral/numba
# Compiled for the CPU of the build; on another kind numba compiles again, in memory if it must.
# The user below has no home: `coral` keeps its templates, and `coral report` its fonts, here.
ENV XDG_CACHE_HOME=/tmp/cache MPLCONFIGDIR=/tmp/cache/matplotlib
USER 65532:65532
ENTRYPOINT ["coral-operator"]
