"""What a node does when something is carried to it. Its text goes there and is run by python 3.8 or later, alone.

It needs no madrun and no installed package. One request comes on standard input: a line of JSON, then what the request
says will follow. One line of JSON goes back, behind a mark, since a login shell may print before it.

What lies below the folder of a node: `objects/` files by their SHA-256, `madrun/<hash>/` madruns that were carried,
`git/` clones, `launches/<launch>/` what one launch alone has: its files, its copy of the repository, its results.
"""
