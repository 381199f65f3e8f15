"""The commands ``phraseclick train`` and ``phraseclick evaluate``.

Nothing heavy is imported before a command runs, so that ``phraseclick --help`` answers at once.
"""

from pathlib import Path
from typing import Annotated, Any

import typer


def train(
    config: Annotated[Path, typer.Argument(help="Recipe, a TOML file (see training/configs).")],
    out: Annotated[Path, typer.Option(help="Folder of the run; a stopped run goes on in it.")],
    data: Annotated[Path, typer.Option(help="Folder that the recipe's paths start from.")] = Path(),
    fresh: Annotated[bool, typer.Option(help="Refuse a folder that holds a run already.")] = False,
) -> None:
    """Train a network; its newest checkpoint is always OUT/latest.

    On several GPUs: torchrun --nproc-per-node 4 --no-python phraseclick train CONFIG --out OUT
    """
    import os

    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from training.loop import line, main

    # Of several processes the first one speaks.
    console = Console(quiet=os.environ.get("RANK", "0") != "0")
    columns = (
        TextColumn("training"),
        BarColumn(),
        TextColumn("{task.percentage:.1f} %  loss {task.fields[loss]}  IoU {task.fields[iou]}"),
        TimeElapsedColumn(),
        TextColumn("to go"),
        TimeRemainingColumn(),
    )
    parts = 100_000
    with Progress(*columns, console=console, speed_estimate_period=300) as bar:
        task = bar.add_task("training", total=parts, start=False, loss="–", iou="–")

        def show(entry: dict[str, Any]) -> None:
            console.print(line(entry), highlight=False, soft_wrap=True)

        def tick(done: float, figures: dict[str, float]) -> None:
            if not bar.tasks[0].started:
                # A run that goes on does not begin at nothing; what was done before is no speed.
                bar.reset(task, completed=round(done * parts))
            loss, iou = f"{figures['loss']:.3f}", f"{figures['iou']:.3f}"
            bar.update(task, completed=done * parts, loss=loss, iou=iou)

        latest = main(config, out=out, data=data, resume=not fresh, report=show, tick=tick)
    console.print(f"The checkpoint is {latest}.")


def evaluate(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint's folder, or 'shipped'.")],
    data: Annotated[list[Path], typer.Option(help="Shard (.tar); may be given several times.")],
    mode: Annotated[str, typer.Option(help="clicks, phrase, or phrase+clicks.")] = "clicks",
    source: Annotated[list[str] | None, typer.Option(help="Only this source; repeatable.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="At most so many objects a source.")] = 0,
    jitter: Annotated[float, typer.Option(min=0, max=1, help="How far clicks miss.")] = 0.0,
    at_least: Annotated[int, typer.Option(min=1, max=20, help="Interactions each gets.")] = 5,
    json: Annotated[Path | None, typer.Option(help="Write all figures here.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write one row per object here.")] = None,
) -> None:
    """Measure a checkpoint: interactions needed (NoC) and IoU reached, as served."""
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    from training.evaluation import main, table

    console = Console()
    with Progress(console=console) as bar:
        task = bar.add_task("evaluating")
        figures = main(
            checkpoint,
            data=data,
            mode=mode,
            sources=source or (),
            limit=limit,
            jitter=jitter,
            at_least=at_least,
            json_file=json,
            csv_file=csv,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    head, *rows = table(figures)
    shown = Table(*head, title=f"{figures['version']}, {mode}")
    for row in rows:
        shown.add_row(*row)
    console.print(shown)
