#!/usr/bin/env bash
# Builds the image, runs the test suite in it, and the compiled pipeline task by task:
# test.sh [ARGUMENT...], which are pytest's.
#
#   BASE      image to build on; without it one is made by base.sh, of the interpreter PYTHON_3_12
#   BEAM      image with Beam's boot; without it a stand-in that only says how it was called
#   BUILD     more arguments for buildah, such as --volume=CA_BUNDLE:/etc/ssl/certs/ca-certificates.crt:ro
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
image=localhost/swar
scratch=$(mktemp --directory)
trap 'rm -rf "$scratch"' EXIT

if [ -z "${BASE:-}" ]; then
    BASE=localhost/swar-base
    podman image exists "$BASE" || deploy/container/base.sh "$BASE" "${PYTHON_3_12:?name a Python 3.12, or a BASE}"
fi
if [ -z "${BEAM:-}" ]; then
    BEAM=localhost/swar-beam
    install -D --mode=755 /dev/stdin "$scratch/beam/opt/apache/beam/boot" <<<$'#!/bin/sh\necho "boot $*"'
    tar --directory="$scratch/beam" --create . | podman import - "$BEAM"
fi
read -r -a more <<<"${BUILD:-}"
time deploy/container/build.sh "$image" --build-arg="BASE=$BASE" --build-arg="BEAM=$BEAM" "${more[@]}"
podman image ls "$image"

export CONTAINERS_CONF="$PWD/deploy/container/containers.conf"
run=(podman run --rm)
test "$("${run[@]}" "$image" id --user)" = 10001
if [ "$BEAM" = localhost/swar-beam ]; then
    test "$("${run[@]}" "$image" --id=1 --provision_endpoint=x)" = "boot --id=1 --provision_endpoint=x"
fi
"${run[@]}" "$image" swar --version
"${run[@]}" "$image" pip check
# Only the tests and the files that they are about: the code is the image's own. What looks at the
# repository itself, its code, locks and every link of its pages, is left to `make test`.
for part in .github tests schemas deploy docs examples benchmarks compose.yaml pyproject.toml requirements.lock requirements-gpu.lock Dockerfile .dockerignore Makefile README.md; do
    run+=(--volume="$PWD/$part:/repository/$part:ro")
done
time "${run[@]}" --workdir=/repository --env=PYTHONDONTWRITEBYTECODE=1 --env=PYTHONPATH=/repository "$image" \
    python -m pytest -p no:cacheprovider --numprocesses 3 --dist loadfile --no-loadscope-reorder \
    --ignore=tests/test_document_paths.py --ignore=tests/test_extras.py \
    --ignore=tests/test_layers.py --ignore=tests/test_locks.py "$@"

# What would be submitted, each task in this image, to a published model.
.venv/bin/swar sample-data "$scratch/data" --speakers 12 --seconds 60
digest=$(podman image inspect --format "{{.Digest}}" "$image")
time .venv/bin/python -m tests.harness.compiled_run "$scratch/data" "$scratch/output" "$image@$digest"
ls "$scratch"/output/published/*/saved_model.pb
