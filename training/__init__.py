"""Data sets, simulated annotators and phrases, the training loop, evaluation."""
