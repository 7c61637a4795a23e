"""What of madrun is on this host, and how it is ended."""
