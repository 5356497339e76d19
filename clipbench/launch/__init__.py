"""Carrying out a plan: on this machine now; several GPUs and Slurm are to come."""
