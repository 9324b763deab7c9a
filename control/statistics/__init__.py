"""Statistics: what streams did, sampled while they are on air, rolled up and kept for a while."""
