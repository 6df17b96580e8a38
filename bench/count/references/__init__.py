"""Other counters: one file each for how it is asked, its convention and what it cannot see."""
