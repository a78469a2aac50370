"""The version of the rules that turn a derivation into bytes.

Part of every derivation: whoever changes a byte of the output raises it, and golden digests in the tests
fail until they do.
"""

ASSEMBLER = 2
