"""Native cards for the cards of a MAD repository: same script, same arguments, same numbers."""
