"""What is made of the facts of a host: each rule takes what a reader gave and says what is to be done about it.

Pure. A value that a source did not give is never taken for a good one. Each advice names the page that it rests on.
"""
