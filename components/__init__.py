"""Swar's TFX components and the audio code that they share."""
