"""The application: what it asks of docker, stub services, its agents and their images, a whole conversation."""
