"""The Label Studio side: HTTP contract, interaction memory, database, background work, command line."""
