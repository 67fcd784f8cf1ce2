"""How the bytes of any recording become samples, within bounds, whatever they hold."""
