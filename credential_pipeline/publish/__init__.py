"""Stage 5: what is recorded becomes objects in a folder or a bucket, the same bytes under the same paths.

Nothing unrecorded is published; the manifest (`ledger.publication`) says what stands where.
"""
