"""The Label Studio side: HTTP contract, memory, database, background work, command line."""
