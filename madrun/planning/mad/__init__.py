"""What cards of MAD repositories rely on inside the container: workspace, steps around the script, variables."""
