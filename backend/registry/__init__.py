"""Model versions: stored, promoted, loaded, and announced to Label Studio."""
