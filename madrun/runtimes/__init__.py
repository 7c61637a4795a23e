"""What encloses a script on a node. A runtime starts a box: driver inside, one stream out, lines in."""
