"""Does a passage hold what a sentence says? Small checks of numbers, names, negation, quotations and terms."""
