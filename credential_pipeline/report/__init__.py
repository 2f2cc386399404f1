"""Stage 7: what happened, as tables an analyst reads, as sums that add up, and as the chain of one credential."""
