"""Card, context and facts in, a plan out. Pure: no file, process or socket is touched here."""
