"""The model as it is served: windows to embeddings, distances, decisions, and its SavedModel.

Training, release and recalibration build on this package; it contains no training code.
"""
