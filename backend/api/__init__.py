"""What other programs ask over HTTP: Label Studio, Prometheus and scripts."""
