"""`python -m credential_pipeline` is the command `credential-pipeline`."""

from credential_pipeline.cli import main

if __name__ == "__main__":
    main()
