"""skypilot."""
