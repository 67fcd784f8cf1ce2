# From a clean clone, with python3 and pip: `make demo`, `make test`, `make test-long`, `make lint`.
# PYTHON chooses the interpreter: `make test PYTHON=/usr/bin/python3.11`.
SHELL := /bin/bash
.DEFAULT_GOAL := venv
.DELETE_ON_ERROR:
.PHONY: venv demo base test test-long lint container-test lock protos sbom audit docs clean

VENV := .venv
TOOLS := build/tools-venv
DEMO := output/demo
DEMO_DATA := output/demo-data

# ML Metadata and TFDV for Python 3.12 ship wheels for glibc >= 2.39 only.
FITS := import os, sys; \
	glibc = os.confstr("CS_GNU_LIBC_VERSION").split()[1].split("."); \
	newest = 12 if (int(glibc[0]), int(glibc[1])) >= (2, 39) else 11; \
	sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, newest))
PYTHON ?= $(firstword $(foreach python,python3.12 python3.11 python3,$(shell \
	$(python) -c '$(FITS)' 2>/dev/null && echo $(python))))

venv: $(VENV)/.installed

# A venv of another lock is thrown away. setuptools, which builds the project, is in the lock.
$(VENV)/.packages: requirements.lock
	@$(if $(PYTHON),,echo "Swar needs Python 3.11 (or 3.12, where glibc is 2.39 or newer): set PYTHON to one" >&2; exit 1)
	@$(PYTHON) -c '$(FITS)' || { echo "$(PYTHON) does not fit: Python 3.11 is needed (or 3.12, where glibc is 2.39 or newer)" >&2; exit 1; }
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --compile --no-deps --require-hashes -r requirements.lock
	touch $@

$(VENV)/.installed: $(VENV)/.packages pyproject.toml setup.py
	$(VENV)/bin/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

$(DEMO_DATA)/SPEAKERS.tsv: | venv
	$(VENV)/bin/swar sample-data $(DEMO_DATA) --speakers 12 --seconds 60

demo: venv $(DEMO_DATA)/SPEAKERS.tsv
	$(VENV)/bin/swar run --config demo --data $(DEMO_DATA) --output $(DEMO)

# The base model anew, see docs/base-model.md: SPEECH is a folder of sets. Killed, it goes on where it was.
BASE_MODEL := output/base
BASE_RECORDINGS = $$(ls -t $(BASE_MODEL)/run/artifacts/SpeechExampleGen/recordings/*/recordings.jsonl | head -n 1)
base: venv
	@test -d "$(SPEECH)" || { echo "make base SPEECH=FOLDER: a folder of sets of speech, see docs/base-model.md" >&2; exit 2; }
	$(VENV)/bin/pip install --quiet --no-build-isolation --editable '.[peer]'
	test -e $(BASE_MODEL)/manifests || $(VENV)/bin/python -m benchmarks.quality.manifests $(SPEECH) $(BASE_MODEL)/manifests --judge-only hyke --unseen 0.1
	test -e $(BASE_MODEL)/teacher.npz || $(VENV)/bin/python -m benchmarks.base.teacher $(BASE_MODEL)/manifests/train.csv $(BASE_MODEL)/teacher.npz
	$(VENV)/bin/swar run --config base --data $(BASE_MODEL)/manifests/train.csv --output $(BASE_MODEL)/run --set trainer.teacher=$(BASE_MODEL)/teacher.npz
	$(VENV)/bin/python -m benchmarks.base.release $(BASE_MODEL)/run/published
	$(VENV)/bin/python -m benchmarks.base.within_class $(BASE_MODEL)/manifests/train.csv $(BASE_RECORDINGS)
	$(VENV)/bin/python -m benchmarks.base.recalibrate $(BASE_MODEL)/manifests/train.csv $(BASE_RECORDINGS)

# Three processes keep two cores busy: tests of servers wait. Beam's portable protocol and the
# compiled pipeline's second run are long.
PYTEST := $(VENV)/bin/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder
test: venv
	$(PYTEST) -m "not long"

test-long: venv
	$(PYTEST) -m long

lint: venv
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# Needs podman, buildah and debootstrap, see docs/container.md.
container-test: venv
	BASE="$(BASE)" BEAM="$(BEAM)" BUILD="$(BUILD)" PYTHON_3_12="$(PYTHON_3_12)" deploy/container/test.sh

# Tools that no other part needs, hash-checked too.
$(TOOLS)/.installed: requirements-tools.lock
	@$(if $(PYTHON),,echo "no fitting Python: set PYTHON" >&2; exit 1)
	rm -rf $(TOOLS)
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/pip install --quiet --no-deps --require-hashes -r requirements-tools.lock
	touch $@

# Keeps the versions that still fit; UPGRADE=1 takes the newest ones. (uv's own uv.lock would name the
# registry's host, and that does not belong into git.)
COMPILE := $(TOOLS)/bin/uv pip compile --quiet --no-emit-index-url --generate-hashes --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)
lock: $(TOOLS)/.installed
	$(COMPILE) --universal --python-version 3.11 --extra pipeline --extra client --extra gallery --extra serve --extra app --group dev --output-file requirements.lock pyproject.toml
	echo 'tensorflow[and-cuda]' | $(COMPILE) --no-config --constraint requirements.lock --python-version 3.12 --python-platform x86_64-manylinux_2_28 --output-file requirements-gpu.lock -
	$(COMPILE) --no-config --universal --python-version 3.11 --group tools --output-file requirements-tools.lock

protos: $(TOOLS)/.installed
	$(TOOLS)/bin/python -m grpc_tools.protoc --proto_path=. --python_out=. --pyi_out=. serving/predict.proto

# What draws the site's diagrams: the theme would ask another host for it.
MERMAID := build/mermaid-11.17.2
$(MERMAID).tgz:
	mkdir -p build
	cd build && npm pack --silent $(subst build/mermaid-,mermaid@,$(MERMAID))
	echo "6ad2f42c3fc26bbf9e45cbb6d11898972573ea52b33a5f4ff51952899f950ffd  $@" | sha256sum --check --quiet

# The documents and what they link to, as a site in build/site; a broken link is an error.
docs: $(TOOLS)/.installed $(MERMAID).tgz
	rm -rf build/site-source && mkdir -p build/site-source
	git ls-files -z -- ':!*.lock' ':!*.npz' | xargs -0 cp --parents --target-directory=build/site-source
	tar --extract --file=$(MERMAID).tgz --directory=build/site-source --strip-components=2 package/dist/mermaid.min.js
	NO_MKDOCS_2_WARNING=1 $(TOOLS)/bin/mkdocs build --strict
	@echo build/site/index.html

# What is installed, as CycloneDX.
sbom: $(TOOLS)/.installed
	$(TOOLS)/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible --output-file build/sbom.cdx.json requirements.lock

# Asks PyPI's advisories about every package of the locks.
audit: $(TOOLS)/.installed
	$(TOOLS)/bin/pip-audit --no-deps --disable-pip --requirement requirements.lock
	$(TOOLS)/bin/pip-audit --no-deps --disable-pip --requirement requirements-gpu.lock
	$(TOOLS)/bin/pip-audit --no-deps --disable-pip --requirement requirements-tools.lock

clean:
	rm -rf $(VENV) build dist output *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
