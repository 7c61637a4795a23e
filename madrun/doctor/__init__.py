"""`madrun doctor`: are these nodes fit for a run, and what is to be done where they are not."""
