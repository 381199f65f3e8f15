"""Migrations of the schema, run by ``Database.migrate`` at every start."""
