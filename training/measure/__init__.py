"""What `training.evaluation` is made of: cases, who answers, figures, and how they are shown."""
