"""Tasks that try to leave their sandbox through what is done with their files afterwards, and one that looks around."""

import os

import flyte
from flyte.io import Dir, File

image = flyte.Image.from_debian_base(python_version=(3, 11)).with_pip_packages("ruff")
env = flyte.TaskEnvironment(name="fold_env", image=image)


def mine(kind: str) -> str:
    return f"/mnt/flyte/runs/{os.environ['RUN_NAME']}/{kind}/{os.environ['ACTION_NAME']}/1"


def file_at(path: str) -> File:
    return File(path=path, name=os.path.basename(path), format="")


@env.task
def image_file() -> File:
    """A file of the image, that later tasks import."""
    import colorsys

    return file_at(colorsys.__file__)


@env.task
def change(f: File) -> str:
    for path in (f.path, os.path.realpath(f.path)):
        try:
            with open(path, "a") as out:
                out.write("\nPOISONED = 'by a task'\n")
            return "changed"
        except OSError as e:
            said = e.strerror or str(e)
    return said


@env.task
def poison() -> str:
    """What was handed on is the image's own file, if it is linked."""
    return change(image_file())


@env.task
def innocent() -> str:
    import colorsys

    return getattr(colorsys, "POISONED", "clean")


@env.task
def settled_name(victim: str) -> File:
    """Links where the launcher might write: beside outputs.pb, and over it."""
    for name in (".outputs.pb.settled", "report.html", ".outputs.pb.part"):
        os.symlink(victim, f"{mine('meta')}/{name}")
    with open("/tmp/x", "w") as f:
        f.write("written by a task")
    return file_at("/tmp/x")


@env.task
def linked_folder(victim_dir: str) -> File:
    """A link in the place of the folder that files are copied to."""
    for place in (f"{mine('raw')}/local", f"{mine('raw')}/files", f"{mine('meta')}/files"):
        os.makedirs(os.path.dirname(place), exist_ok=True)
        os.symlink(victim_dir, place)
    with open("/tmp/owned", "w") as f:
        f.write("written by a task")
    os.chmod("/tmp/owned", 0o4755)
    return file_at("/tmp/owned")


@env.task
def child(n: int) -> int:
    return n


@env.task
def linked_child(victim_dir: str) -> int:
    """Links where the launcher makes the folders of the next action."""
    meta = os.path.dirname(os.path.dirname(mine("meta")))
    for name in os.listdir(meta):
        if name != os.environ["ACTION_NAME"]:
            os.rename(f"{meta}/{name}", f"{meta}/{name}.away")
    for number in range(50):
        os.symlink(victim_dir, f"{meta}/guess{number}")
    return child(1)


@env.task
def pipe() -> str:
    os.mkfifo(f"{mine('meta')}/error.pb")
    return "a pipe in the place of error.pb"


@env.task
def hostile_dir(victim: str) -> Dir:
    os.makedirs("/tmp/d/deep")
    os.symlink(victim, "/tmp/d/link")
    os.symlink("/", "/tmp/d/root")
    os.symlink("/proc/self/environ", "/tmp/d/environ")
    os.mkfifo("/tmp/d/pipe")
    with open("/tmp/d/deep/plain", "w") as f:
        f.write("plain")
    return Dir(path="/tmp/d", name="d", format="")


@env.task
def look_around() -> list[str]:
    found = []
    for folder, _, files in os.walk("/mnt/flyte/runs"):
        found += [os.path.relpath(os.path.join(folder, name), "/mnt/flyte/runs") for name in files]
    return sorted(found)
