"""Background jobs as rows: trainings and re-scorings, their leases, schedules and triggers."""
