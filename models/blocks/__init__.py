"""Long-range blocks: one file each, the module and its closed-form cost beside forward."""
