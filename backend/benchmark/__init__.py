"""``phraseclick bench``: how fast a real server answers. Only the command line imports it."""
