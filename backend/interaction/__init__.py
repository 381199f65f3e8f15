"""Which object a click or phrase belongs to, and the mask that answers it. Start at click.py."""
