"""The web page of `swar app`."""
