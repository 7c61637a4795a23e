"""Nodes that are pods: an Indexed Job or a JobSet, rendered, then driven through the official client."""
