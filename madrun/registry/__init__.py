"""Files to cards: where repositories are looked for, how cards are read, how tags select them."""
