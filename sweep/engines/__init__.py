"""Where runs go: processes of this machine, a Ray cluster, jobs of SLURM. sweep/pool.py hands runs to them."""
