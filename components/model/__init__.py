"""The model as it is served: windows to embeddings, distances, decisions, and its SavedModel.

What trains it, releases it or calibrates it again builds on this; nothing of a training is here.
"""
