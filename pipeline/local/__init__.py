"""The runner of this machine: the pipeline in this process, Beam on its cores."""
