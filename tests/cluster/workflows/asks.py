"""An app, and a task that asks it, called by name, too: all in the image that the example's lock of `msa_env` has."""

import urllib.request

import flyte
import flyte.app
import flyte.remote

SIDECAR = ""
try:
    from kubernetes.client import V1Container, V1PodSpec
except ImportError:
    TEMPLATE = None  # in the image, which has no such client and makes no pods
else:
    others = [V1Container(name="beside", image=SIDECAR, args=["serve=:9000,beside"])] if SIDECAR else []
    spec = V1PodSpec(containers=[V1Container(name="app"), *others])
    TEMPLATE = flyte.PodTemplate(primary_container_name="app", pod_spec=spec)

IMAGE = flyte.Image.from_debian_base(python_version=(3, 11)).with_pip_packages("pytest")
front = flyte.app.AppEnvironment(
    name="front", image=IMAGE, args=["python", "-m", "http.server", "8080"], port=8080, pod_template=TEMPLATE
)
env = flyte.TaskEnvironment(name="msa_env", image=IMAGE, depends_on=[front])


@env.task
async def ask() -> list[str]:
    """Where the app is, and how it answers."""
    with urllib.request.urlopen(front.endpoint, timeout=30) as answer:
        return [front.endpoint, str(answer.status)]


@env.task
async def main() -> list[str]:
    """The same of this run's own app, and of that of what was deployed."""
    deployed = flyte.remote.Task.get("msa_env.ask", auto_version="latest")
    return [*(await ask()), *(await deployed())]
