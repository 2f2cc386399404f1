"""Commands of the ledger, one file a subject; each lists its own in COMMANDS and cli.py adds them. Thin, as there."""
