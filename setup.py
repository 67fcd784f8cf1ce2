"""Beam's `--setup_file` asks for a setup.py; everything it says is in pyproject.toml."""

from setuptools import setup

setup()
