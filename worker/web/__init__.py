"""The web process: facts in, after COMMIT; states out, by the database's clock."""
