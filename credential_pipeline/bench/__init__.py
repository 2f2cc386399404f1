"""What signing costs on this machine: made-up rows (rows.py), and rates and ratios over them (proofs.py, shapes.py).

Belongs here: measuring, from an installed package and without the tests. Does not belong here: limits to pass; nothing
fails because a machine is slow.
"""
