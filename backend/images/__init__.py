"""Images of tasks: found, downloaded, decoded, cached and encoded."""
