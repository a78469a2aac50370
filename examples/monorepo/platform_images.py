"""The images that the domains build on, and the one place where a common version range is decided."""

import flyte

PLATFORM = ("linux/amd64",)

FRAMES = ("pandas>=2.2", "pyarrow>=17")
MODELS = ("scikit-learn>=1.5",)
WEB = ("httpx>=0.28", "tenacity>=9")

base = flyte.Image.from_debian_base(python_version=(3, 11), platform=PLATFORM)
frames = base.with_pip_packages(*FRAMES)
models = frames.with_pip_packages(*MODELS)
web = base.with_pip_packages(*WEB)
