"""How soon a bad candidate is rolled back, and how often a good one is (`make bench-rollout`)."""
