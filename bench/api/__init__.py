"""What a program asks of a network that lives in it: exported as ``vidcost.count`` and so on."""
