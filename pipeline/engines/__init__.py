"""The pipeline on Vertex AI and Kubeflow Pipelines, and Beam on Dataflow, Flink and Spark."""
