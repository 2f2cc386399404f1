"""Stage 7: what happened, as tables an analyst reads, as sums that have to add up, and as the chain of one credential."""
