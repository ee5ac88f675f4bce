"""One file a board, each with its record as BOARD."""
