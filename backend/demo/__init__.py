"""``make demo``: the whole product on one machine, shown in a real Label Studio."""
