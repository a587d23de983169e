"""Many hosts: run on all of them, judged against expectations, compared."""
