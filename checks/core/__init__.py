"""What every other package uses. Imports no other package."""
