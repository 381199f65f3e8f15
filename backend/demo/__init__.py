"""``make demo``: the whole product on one machine, in a real Label Studio."""
