"""How a row of `content` is kept: packed forms, what they are packed with, and what brings older rows up to date."""
