"""``python -m vidcost`` is the command ``vidcost``."""

from vidcost.bench.cli import main

if __name__ == "__main__":
    main()
