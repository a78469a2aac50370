"""Data frames as values: pandas' own, pyarrow's, and a reference that is read as either."""

import datetime

import flyte
import flyte.io
import pandas as pd
import pyarrow as pa

leaf = flyte.TaskEnvironment(name="leaf")
env = flyte.TaskEnvironment(name="top", depends_on=[leaf])


@leaf.task
async def make(rows: int) -> pd.DataFrame:
    start = datetime.datetime(2026, 1, 1)
    return pd.DataFrame(
        {
            "number": range(rows),
            "half": [x / 2 for x in range(rows)],
            "word": [f"w{x}" if x % 2 else None for x in range(rows)],
            "when": [start + datetime.timedelta(days=x) for x in range(rows)],
        }
    )


@leaf.task
async def doubled(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(number=frame.number * 2)


@leaf.task
async def table(frame: flyte.io.DataFrame) -> pa.Table:
    """What came as a reference, as another library's."""
    found = await frame.open(pa.Table).all()
    return found.append_column("more", pa.array([1] * len(found)))


@leaf.task
async def passed(frame: flyte.io.DataFrame) -> flyte.io.DataFrame:
    """Handed on, and never read."""
    return frame


@env.task
async def main(rows: int) -> list[str]:
    frame = await make(rows)
    twice = await doubled(frame)
    wide = await table(await passed(flyte.io.DataFrame.wrap_df(twice)))
    said = [f"{name} {kind}" for name, kind in zip(twice.columns, twice.dtypes, strict=True)]
    right = twice.equals(frame.assign(number=frame.number * 2))
    return [*said, f"{right}", f"{wide.num_rows} {','.join(wide.column_names)}", f"{wide.column('number').to_pylist()}"]
