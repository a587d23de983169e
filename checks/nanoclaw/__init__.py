"""nanoclaw itself: what it asks of docker, an agent to ask it for, a service for the agent to talk to."""
