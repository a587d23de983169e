"""Agent images for throwaway hosts: built on this machine, and attached as disks because loading takes too long."""
