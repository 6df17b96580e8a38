"""Xu et al. 2020, arXiv:2006.05091: pyramid non-local networks."""
