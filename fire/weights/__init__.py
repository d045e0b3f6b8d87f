"""Files of trained networks: ours, torch's, the paper's authors'."""
