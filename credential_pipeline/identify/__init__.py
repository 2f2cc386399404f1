"""Stage 3: source records -> persons with ids that stay; what cannot be proved goes to a person."""
