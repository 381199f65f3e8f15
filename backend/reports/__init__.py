"""What labeling costs: the event log and the accepted labels, measured, counted and shown."""
