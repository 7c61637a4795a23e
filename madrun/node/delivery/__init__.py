"""The files of all nodes on their way to node 0."""
