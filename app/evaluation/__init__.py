"""How good answers are: questions with known answers, figures over them, and what can be learnt from them."""
