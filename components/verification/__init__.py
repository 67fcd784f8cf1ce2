"""Speaker verification measured as the field does: trials, error rates, intervals, slices.

Pure functions of arrays and tables, without TensorFlow: they take any embeddings.
"""
