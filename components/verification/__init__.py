"""Measures speaker verification as the field does: trials, error rates, intervals, slices.

It has pure functions of arrays and tables, without TensorFlow, for any embeddings.
"""
