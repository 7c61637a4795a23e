"""What existing MAD repositories and those who read their results expect: log patterns, files by their names."""
