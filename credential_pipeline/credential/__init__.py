"""What a credential is and why it is true: pure. No Dagster, no database, no clock, no network."""
