"""Agent images for throwaway hosts: built on this machine, handed over on disks: too big to be loaded there."""
