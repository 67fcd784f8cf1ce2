"""The measurements behind the project's numbers; `README.md` says what each one shows."""
