"""A local stand-in for TensorFlow Serving: REST, gRPC, batching, hot reload of versions."""
