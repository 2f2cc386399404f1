"""Stage 6: expiring credentials -> what is due, by month and shard of persons; a campaign issues through stage 4."""
