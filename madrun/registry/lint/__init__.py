"""Rules that a model repository is held against: what fails there without a word, or reports a wrong number."""
