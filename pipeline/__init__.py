"""Swar's pipeline: its configuration, its graph and the runners."""
