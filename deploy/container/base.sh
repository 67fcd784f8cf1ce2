#!/usr/bin/env bash
# An image like python:3.12-slim-trixie where no registry of images is reached: base.sh NAME PYTHON
# PYTHON is an interpreter 3.12 of this machine, built with its own prefix; Debian comes by debootstrap.
set -euo pipefail
name=$1
prefix=$("$2" -c 'import sys; assert sys.version_info[:2] == (3, 12), sys.version; print(sys.base_prefix)')
root=$(mktemp --directory)
trap 'rm -rf "$root"' EXIT
libraries=libssl3t64,libffi8,libsqlite3-0,libreadline8t64,zlib1g,libbz2-1.0,liblzma5,libcrypt1,libuuid1,libncursesw6,libexpat1
debootstrap --variant=minbase --include="ca-certificates,$libraries" trixie "$root"
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
tar --directory="$prefix" --exclude=lib/python3.12/test --exclude=lib/python3.12/site-packages \
    --exclude=__pycache__ --create bin/python3.12 bin/python3 lib include |
    tar --directory="$root/usr/local" --extract
ln --symbolic python3 "$root/usr/local/bin/python"
chroot "$root" ldconfig
tar --directory="$root" --exclude=./proc --exclude=./sys --create . |
    podman import --change 'ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin' - "$name"
