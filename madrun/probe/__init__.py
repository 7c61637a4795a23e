"""Facts of this host. The only place, besides the command line, that reads the environment."""
