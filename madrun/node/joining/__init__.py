"""How nodes become one run: who is there, what differs, what reaches what."""
