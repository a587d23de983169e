"""Where commands run: this machine, a machine reached by SSH, or a throwaway guest."""
