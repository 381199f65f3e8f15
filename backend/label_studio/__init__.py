"""Everything that speaks Label Studio: its API, labeling configs, payloads and masks."""
