"""Where commands run: this machine, a machine reached by ssh, or a throwaway guest. Knows no pattern of docker."""
