"""What Footnote promises, measured through its public interfaces: `python -m benchmarks --data DIR`."""
