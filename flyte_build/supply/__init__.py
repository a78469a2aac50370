"""What is in an image, said in the field's formats: SBOMs, provenance, signatures, and their place beside the image.

Everything is derived from the lock (and from artifacts that are at hand anyway); nothing is scanned or guessed, and no
clock is read: inputs that give the same image give the same documents. The registry is spoken to by
``flyte_build.registry`` alone.
"""
