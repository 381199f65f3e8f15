"""Learning from accepted labels: training jobs, and scores for the order of the tasks."""
