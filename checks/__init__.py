"""Prove that nanoclaw's Docker CLI patterns work on rootless Podman through the podman-docker shim."""
