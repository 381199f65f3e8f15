"""Fine-tuning a version on a team's own labels."""
