"""The commands ``phraseclick train``, ``evaluate``, ``simulate`` and ``acquisition``.

Each imports heavy packages when it runs, so that ``phraseclick --help`` stays fast.
"""

from pathlib import Path
from typing import Annotated, Any

import typer


def train(
    config: Annotated[Path, typer.Argument(help="Recipe, a TOML file (see training/configs).")],
    out: Annotated[Path, typer.Option(help="Folder of the run; an interrupted run continues.")],
    data: Annotated[Path, typer.Option(help="Folder of the recipe's relative paths.")] = Path(),
    fresh: Annotated[bool, typer.Option(help="Fail if the folder already has a run.")] = False,
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

    from training.train.loop import main
    from training.train.reporting import line

    # Only the first of several processes prints.
    console = Console(quiet=os.environ.get("RANK", "0") != "0")
    columns = (
        TextColumn("training"),
        BarColumn(),
        TextColumn("{task.percentage:.1f} %  loss {task.fields[loss]}  IoU {task.fields[iou]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    parts = 100_000
    with Progress(*columns, console=console, speed_estimate_period=300) as bar:
        task = bar.add_task("training", total=parts, start=False, loss="–", iou="–")

        def show(entry: dict[str, Any]) -> None:
            console.print(line(entry), highlight=False, soft_wrap=True)

        def tick(done: float, figures: dict[str, float]) -> None:
            if not bar.tasks[0].started:
                # A resumed run starts where it stopped; earlier steps must not count as speed.
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
    limit: Annotated[int, typer.Option(min=0, help="Objects per source at most; 0: all.")] = 0,
    jitter: Annotated[
        list[float] | None,
        typer.Option(
            min=0, max=1, help="Click noise, as a share of the object's depth; repeatable."
        ),
    ] = None,
    at_least: Annotated[
        int, typer.Option(min=1, max=20, help="Interactions on each object at least.")
    ] = 10,
    probes: Annotated[
        bool,
        typer.Option(
            "--probes",
            help="Also run the behaviour tests of prompts.",
        ),
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    json: Annotated[Path | None, typer.Option(help="Write all figures here.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write one row per object here.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with curves and cases.")] = None,
) -> None:
    """Measure checkpoints: interactions needed (NoC) and IoU reached, as served.

    Ctrl-C stops early; the results so far are shown and written.
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

    from training.evaluation.evaluation import main
    from training.evaluation.output import remarks, tables

    def place(name: str) -> str:
        """A folder of a checkpoint; the backend passes a function that finds versions by name."""
        known = name == "shipped" or Path(name).is_dir() or context.obj is None
        return name if known else str(context.obj(name))

    console = Console()
    columns = (
        TextColumn("evaluating"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
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
            console.print(f"Wrote {file}", highlight=False)
    if not figures["complete"]:
        # The exit status of a program that Ctrl-C ended.
        raise typer.Exit(130)


def simulate(
    data: Annotated[
        list[str],
        typer.Option(help="Unseen pictures: [FORMAT:]PATH[?OPTIONS]; repeatable."),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the run; an interrupted run continues.")],
    start: Annotated[
        str, typer.Option(help="The first model: a folder, or 'shipped'.")
    ] = "shipped",
    seed: Annotated[
        list[int] | None,
        typer.Option(help="Seeds to simulate (1, 2 and 3); several processes can share them."),
    ] = None,
    strategy: Annotated[
        list[str] | None,
        typer.Option(help="clicks, saving, uncertainty, random (all); repeatable."),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Trainings of each seed and strategy.")] = 3,
    pictures: Annotated[int, typer.Option(min=1, help="Pictures labeled in each round.")] = 8,
    candidates: Annotated[int, typer.Option(min=0, help="Pictures scored per round; 0: all.")] = 24,
    tests: Annotated[int, typer.Option(min=1, help="Held-out objects, one per picture.")] = 60,
    per_source: Annotated[int, typer.Option(min=1, help="Pictures of each source at most.")] = 150,
    mixture: Annotated[
        list[str] | None,
        typer.Option(help="SOURCE=N: only these sources, N pictures at most; repeatable."),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of a training.")] = 30,
    whole_persons: Annotated[
        bool,
        typer.Option(help="Label people as one object where the data splits them."),
    ] = True,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0: as torch chooses.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    json: Annotated[Path | None, typer.Option(help="Write all figures here.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw the curves here (.png, .svg).")] = None,
) -> None:
    """Simulate labeling and training in turns: what it saves, and what to label first.

    Results cover the finished seeds. Large settings take hours; Ctrl-C loses the current round.
    """
    import dataclasses

    from rich.console import Console

    from training.errors import RecipeError
    from training.simulate import curves
    from training.simulate.simulate import STRATEGIES, SimulationRecipe
    from training.simulate.simulate import simulate as run

    unknown = sorted(set(strategy or ()) - set(STRATEGIES))
    if unknown:
        raise RecipeError(f"Unknown strategy '{unknown[0]}': use {', '.join(STRATEGIES)}.")
    chosen = tuple(each for each in STRATEGIES if not strategy or each in strategy)
    recipe = SimulationRecipe(
        strategies=chosen,
        rounds=rounds,
        pictures=pictures,
        candidates=candidates,
        tests=tests,
        per_source=per_source,
        mixture=tuple(_amount(each) for each in mixture or ()),
        whole_persons=whole_persons,
    )
    tuning = dataclasses.replace(recipe.fine_tune, steps=steps, threads=threads, device=device)
    recipe = dataclasses.replace(recipe, fine_tune=tuning)
    console = Console()
    done = run(
        data,
        out=out,
        start=start,
        seeds=seed or (1, 2, 3),
        recipe=recipe,
        say=lambda text: console.print(text, highlight=False),
    )
    figures = curves.summary(done)
    if json:
        curves.write(figures, json)
    if picture:
        curves.draw(figures, picture)
    for sentence in curves.sentences(figures):
        console.print(sentence, highlight=False)
    for file in (json, picture):
        if file is not None:
            console.print(f"Wrote {file}", highlight=False)


def _amount(text: str) -> tuple[str, int]:
    """Parse SOURCE=N."""
    source, _, amount = text.partition("=")
    if not source or not amount.isdigit() or not int(amount):
        raise typer.BadParameter(f"'{text}' is not SOURCE=N with N above 0, such as voc=250.")
    return source, int(amount)


def acquisition(
    context: typer.Context,
    checkpoint: Annotated[
        str, typer.Argument(help="A checkpoint's folder, 'shipped', or a version's name.")
    ],
    data: Annotated[
        list[str],
        typer.Option(help="Shard, folder or other data set: [FORMAT:]PATH[?OPTIONS]; repeatable."),
    ],
    pictures: Annotated[int, typer.Option(min=3, help="Number of pictures, drawn at random.")] = 60,
    unnamed: Annotated[
        bool, typer.Option("--unnamed", help="Without labels: the network is clicked on a grid.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    json: Annotated[Path | None, typer.Option(help="Write all figures here.")] = None,
) -> None:
    """Compare the expected interactions of pictures with the ones they really need."""
    from rich.console import Console

    from training.acquisition.acquisition_evaluation import main
    from training.evaluation.output import write_json

    known = checkpoint == "shipped" or Path(checkpoint).is_dir() or context.obj is None
    place = checkpoint if known else str(context.obj(checkpoint))
    console = Console()
    figures = main(
        place,
        data=data,
        pictures=pictures,
        named=not unnamed,
        device=device,
        seed=seed,
        progress=lambda done, of: console.print(f"{done} of {of} pictures", end="\r"),
    )
    console.print(
        f"{figures['pictures']} pictures, {figures['objects']} objects: "
        f"{figures['mean_needed']} interactions, {figures['mean_expected']} expected, "
        f"{figures['seconds_per_picture']} s a picture"
    )
    for name, words in (
        ("expected", "expected clicks"),
        ("uncertainty", "plain uncertainty"),
        ("difference", "difference"),
    ):
        it = figures[name]
        console.print(f"{words:18} {it['correlation']:+.2f} [{it['low']:+.2f}, {it['high']:+.2f}]")
    if json is not None:
        write_json(json, figures)
        console.print(f"Wrote {json}", highlight=False)
