"""Many hosts: run on all of them, judged by what is known, held against each other, shown."""
