# The image of the pipeline's tasks, of Beam's workers and of the training: docs/container.md.

# Give both by their digests where a build must be repeatable: --build-arg BASE=python@sha256:...
# Any image with apt-get, glibc >= 2.39 and a `python` that is 3.12.
ARG BASE=python:3.12-slim-trixie
# Has /opt/apache/beam/boot, which starts a Beam worker.
ARG BEAM=apache/beam_python3.12_sdk:2.77.0

FROM ${BEAM} AS beam

FROM ${BASE} AS libraries
# pyfarmhash is the one library without a wheel.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY requirements.lock requirements-gpu.lock ./
# 1: with CUDA and cuDNN, which need NVIDIA's driver on the machine.
ARG GPU=0
ENV PATH=/opt/swar/bin:${PATH}
# What only lints is taken out again, and headers for who compiles operations of TensorFlow.
RUN python -m venv /opt/swar \
    && pip install --no-cache-dir --no-deps --require-hashes --requirement requirements.lock \
    && if [ "${GPU}" = 1 ]; then \
        pip install --no-cache-dir --no-deps --require-hashes --requirement requirements-gpu.lock; \
    fi \
    && pip uninstall --yes mypy ruff \
    && rm -r /opt/swar/lib/python3.12/site-packages/tensorflow/include

FROM libraries AS installed
COPY pyproject.toml setup.py README.md LICENSE ./
COPY components components
COPY pipeline pipeline
COPY pretrained pretrained
COPY schemas schemas
COPY serving serving
COPY swar swar
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels .

FROM ${BASE} AS swar
COPY --from=libraries /opt/swar /opt/swar
COPY --from=beam /opt/apache/beam /opt/apache/beam
# 0 where an engine mounts folders that root alone can write.
ARG USER_ID=10001
RUN if [ "${USER_ID}" != 0 ]; then useradd --uid "${USER_ID}" --create-home swar; fi
COPY --from=installed /wheels /tmp/wheels
# Beam's boot would make a venv that sees only the base image's libraries. Engines import TensorFlow
# before the package that asks it for oneDNN's kernels (components/__init__.py).
ENV PATH=/opt/swar/bin:${PATH} \
    PYTHONUNBUFFERED=1 \
    RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1 \
    TF_ENABLE_ONEDNN_OPTS=1
RUN pip install --no-cache-dir --no-deps /tmp/wheels/*.whl
COPY deploy/container/entrypoint.sh /usr/local/bin/swar-entrypoint
USER ${USER_ID}
WORKDIR /tmp
ENTRYPOINT ["swar-entrypoint"]
CMD ["swar", "--help"]
