"""The local runner: the pipeline in this process, Beam on this machine's cores."""
