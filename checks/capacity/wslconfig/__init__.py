"""The .wslconfig of a Windows host that runs nanoclaw's agents in WSL 2: computed, written, checked."""
