"""Where commands run: this machine, a machine reached by ssh, or a throwaway guest. Knows nothing of docker's patterns."""
