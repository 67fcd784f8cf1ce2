"""The components of the pipeline, and the code that they share."""

import os

# TensorFlow reads this at its first import. By default it disables oneDNN's kernels on processors
# without VNNI, where a training step takes twice as long without them.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
