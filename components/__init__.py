"""The components of the pipeline, and what they share."""

import os

# TensorFlow reads it when it is first imported. By itself it has oneDNN's kernels off on processors
# without VNNI, where a training step takes twice as long without them.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
