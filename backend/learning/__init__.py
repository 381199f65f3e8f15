"""Learning from accepted labels: trainings, and scores that say which task comes next."""
