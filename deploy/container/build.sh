#!/usr/bin/env bash
# Builds the image with podman's buildah, where there is no Docker daemon: build.sh NAME [ARGUMENT...]
# More arguments are buildah's: --build-arg BASE=..., --volume for a CA bundle or a pip.conf.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
name=$1
shift
exec buildah build --isolation=chroot --network=host --layers --target=swar --tag="$name" "$@" .
