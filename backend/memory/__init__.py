"""Interaction memory: which object a click or phrase belongs to, kept in the database alone."""
