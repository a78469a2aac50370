"""The documentation as a site: what mkdocs is given besides the pages of ``docs/``, and the test of what comes out."""
