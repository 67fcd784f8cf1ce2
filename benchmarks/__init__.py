"""Measurements that the project's figures come from; `README.md` says what each one shows."""
