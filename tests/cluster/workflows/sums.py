"""A clustered task with torch itself: by its launcher and its collectives, the numbers of two pods are added up."""

import flyte
import flyte.clustered

env = flyte.clustered.ClusteredTaskEnvironment(
    name="sums",
    image=flyte.Image.from_debian_base(python_version=(3, 11)).with_pip_packages("torch"),
    resources=flyte.Resources(cpu="500m", memory="3Gi"),
    replicas=2,
    nproc_per_node=1,
    runtime=flyte.clustered.TorchRun(),
)


@env.task
async def total() -> list[float]:
    """The sum over all of them, which each of them has."""
    import torch  # type: ignore[import-not-found]
    import torch.distributed  # type: ignore[import-not-found]

    torch.distributed.init_process_group("gloo")
    rank, size = torch.distributed.get_rank(), torch.distributed.get_world_size()
    given = torch.arange(4, dtype=torch.float64) * 10**rank
    torch.distributed.all_reduce(given)
    torch.distributed.destroy_process_group()
    print("rank", rank, "of", size, "with torch", torch.__version__, flush=True)
    return [float(number) for number in given]
