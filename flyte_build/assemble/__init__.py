"""Derivation + bytes → layers, config, manifest. Standard library only, pure, runs by itself.

    python -I -S flyte_build/assemble PLAN OUT --artifacts DIR

``PLAN`` is an image derivation (see ``flyte_build.deriving.derivation``), ``DIR`` holds the artifacts named by their
SHA-256 in hex, ``OUT`` becomes an OCI image layout. Nix and Bazel run exactly this; the CLI calls the same
functions. It never imports the rest of flyte-build. The output depends on the derivation and the artifacts' bytes
alone: no clock, no environment, no locale, no host zlib on the way out (law 3), and a wheel's own DEFLATE streams are
taken over byte for byte (law 4).
"""
