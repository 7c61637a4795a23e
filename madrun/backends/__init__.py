"""How madrun reaches the nodes of a launch: one package a backend, each with what it renders and how that is run."""
