"""The commands around a served model. They import what they need when they run."""
