"""Stage 2: landed rows -> accepted rows, or quarantined rows with code, field, value and remedy.

A bad row never blocks good ones."""
