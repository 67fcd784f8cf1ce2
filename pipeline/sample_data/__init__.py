"""`swar sample-data`: synthetic Nepali speech that looks like a user's own."""
