"""A simulated team that labels, trains and labels on."""
