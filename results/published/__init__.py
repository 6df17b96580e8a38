"""The printed figures of papers, one TOML file a paper, carried in the installed package."""
