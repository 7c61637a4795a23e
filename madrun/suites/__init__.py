"""Many cases in one go: what they are, how far they have come, and what they cost."""
