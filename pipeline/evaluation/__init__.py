"""`swar evaluate`: a published model judged on other recordings."""
