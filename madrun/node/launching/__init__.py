"""Starts on other nodes that the runner of node 0 asks for: from its box over the control channel into theirs."""
