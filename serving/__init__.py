"""What surrounds a published model: the endpoint's stand-in, its client, the gallery, the page."""
