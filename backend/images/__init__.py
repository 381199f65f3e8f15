"""Pictures of tasks: fetched, decoded, cached and encoded."""
