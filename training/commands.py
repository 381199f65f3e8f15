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

    from training.log_lines import line
    from training.loop import main

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
    context: typer.Context,
    checkpoint: Annotated[
        str, typer.Argument(help="A checkpoint's folder, 'shipped', or a version's name.")
    ],
    data: Annotated[
        list[str],
        typer.Option(help="Shard, folder or other data set: [FORMAT:]PATH[?OPTIONS]; repeatable."),
    ],
    mode: Annotated[
        list[str] | None,
        typer.Option(help="clicks (default), phrase, or phrase+clicks; repeatable."),
    ] = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(help="Another checkpoint on the same cases; repeatable."),
    ] = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option(help="grabcut or random_walker, by the same clicks; repeatable."),
    ] = None,
    source: Annotated[list[str] | None, typer.Option(help="Only this source; repeatable.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="At most so many objects a source.")] = 0,
    jitter: Annotated[
        list[float] | None,
        typer.Option(
            min=0, max=1, help="How far clicks miss, as a share of the depth; repeatable."
        ),
    ] = None,
    at_least: Annotated[
        int, typer.Option(min=1, max=20, help="Interactions that every object gets.")
    ] = 10,
    probes: Annotated[
        bool, typer.Option("--probes", help="Ask in pairs too: is it heard what it is told?")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    json: Annotated[Path | None, typer.Option(help="Write all figures here.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write one row per object here.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with curves and cases.")] = None,
) -> None:
    """Measure checkpoints: interactions needed (NoC) and IoU reached, as served.

    Ctrl-C ends it early; what was measured so far is shown and written all the same.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from training.evaluation import main
    from training.measure.terminal import tables
    from training.measure.wording import remarks

    def place(name: str) -> str:
        """Names of versions are the business of whoever keeps them, and handed in with the app."""
        known = name == "shipped" or Path(name).is_dir() or context.obj is None
        return name if known else str(context.obj(name))

    console = Console()
    columns = (
        TextColumn("evaluating"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("to go"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, speed_estimate_period=120) as bar:
        task = bar.add_task("evaluating", total=None)
        figures = main(
            place(checkpoint),
            data=data,
            mode=mode or "clicks",
            compare=[place(each) for each in compare or ()],
            baselines=baseline or (),
            sources=source or (),
            limit=limit,
            jitter=jitter or 0.0,
            at_least=at_least,
            probes=probes,
            device=device,
            json_file=json,
            csv_file=csv,
            html_file=html,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    for table in tables(figures):
        console.print(table)
    for remark in remarks(figures):
        console.print(remark, style="yellow", highlight=False)
    for file in (json, csv, html):
        if file is not None:
            console.print(f"Written: {file}", highlight=False)
    if not figures["complete"]:
        # What a shell expects of a program that Ctrl-C ended.
        raise typer.Exit(130)
