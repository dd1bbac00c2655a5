"""How one matrix is turned so that its rows come nearest another's."""
