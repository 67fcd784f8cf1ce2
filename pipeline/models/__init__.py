"""Published models in use: where they came from, drift, rollback, their reports."""
