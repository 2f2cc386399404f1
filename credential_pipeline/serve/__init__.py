"""What other people's programs ask us: the published site on this machine, and verification.

Belongs here: HTTP and the outside world. Does not belong here: deciding whether a credential holds (credential/).
"""
