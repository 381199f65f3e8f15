"""Steps of the database's schema, run by ``Database.migrate`` at every start."""
