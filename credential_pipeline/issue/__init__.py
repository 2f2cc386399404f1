"""Stage 4: earned -> plan -> approval -> signed, checked, recorded credentials. Sign, then check, then record."""
