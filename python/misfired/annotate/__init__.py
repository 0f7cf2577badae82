"""Studies with people: what is drawn, the pages that ask it, and the runs that come of the answers."""
