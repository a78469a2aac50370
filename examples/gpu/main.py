"""A GPU-sized environment: torch with its CUDA libraries, on one A100.

Locked for the platform it will run on, from any machine, with or without a GPU. Each of the large wheels has a layer of
its own, so an image that changes only in its small packages re-uses gigabytes.

    flyte-build plan examples/gpu/main.py train --layers
"""

import flyte

train_env = flyte.TaskEnvironment(
    name="train_env",
    image=flyte.Image.from_debian_base(python_version=(3, 11), platform=("linux/amd64",))
    .with_apt_packages("libgomp1")
    .with_pip_packages("torch")
    .with_env_vars({"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"}),
    resources=flyte.Resources(cpu=8, memory="64Gi", gpu="A100:1", shm="auto"),
)


@train_env.task
def train(steps: int = 100, width: int = 256) -> float:
    """Fit a small network to a sine and return its last loss."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    x = torch.linspace(-3.0, 3.0, 1024, device=device).unsqueeze(1)
    y = torch.sin(x)
    model = torch.nn.Sequential(torch.nn.Linear(1, width), torch.nn.Tanh(), torch.nn.Linear(width, 1)).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    loss = torch.zeros(())
    for _ in range(steps):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
    return float(loss)
