"""The networks and blocks that are measured. Pure torch; imports nothing of vidcost.bench."""
