"""How nodes talk."""
