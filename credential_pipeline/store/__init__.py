"""The parts that last: PostgreSQL tables and migrations, the object store, secrets and keys."""
