"""A recipe's frames -> an origin and three axes, and every token's place there."""
