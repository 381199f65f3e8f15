"""The commands for training and measuring: ``phraseclick train``, ``evaluate``, ``calibrate``, ...

Each imports heavy packages when it runs, so that ``phraseclick --help`` stays fast.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

# Versions are looked up by name by the app that runs these commands (`_folder`).
CheckpointArgument = Annotated[
    str, typer.Argument(help="A checkpoint's folder, 'shipped', or a version's name.")
]
DataOption = Annotated[
    list[str],
    typer.Option(help="Shard, folder or other data set: [FORMAT:]PATH[?OPTIONS]; repeatable."),
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]


def _for_results(file: Path | None) -> Path | None:
    """A file that is written in the end: that it can be is seen now, before hours of work."""
    if file is None:
        return None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be written: {error.strerror}.") from error
    if file.is_dir() or not os.access(file.parent, os.W_OK):
        raise typer.BadParameter(f"{file} cannot be written: name a file in a folder of yours.")
    return file


def _for_drawing(file: Path | None) -> Path | None:
    """The same for a picture."""
    if file is not None and file.suffix.lower() not in (".png", ".svg"):
        raise typer.BadParameter(f"{file} is neither .png nor .svg.")
    return _for_results(file)


JsonOption = Annotated[
    Path | None, typer.Option(help="Write all figures here.", callback=_for_results)
]


def train(
    config: Annotated[Path, typer.Argument(help="Recipe, a TOML file (see training/configs).")],
    out: Annotated[Path, typer.Option(help="Folder of the run; an interrupted run continues.")],
    data: Annotated[Path, typer.Option(help="Folder of the recipe's relative paths.")] = Path(),
    fresh: Annotated[bool, typer.Option(help="Fail if the folder already has a run.")] = False,
) -> None:
    """Train a network; OUT/latest is its newest checkpoint.

    On several GPUs: torchrun --nproc-per-node 4 --no-python phraseclick train CONFIG --out OUT
    """
    from rich.console import Console

    from training.train.loop import main
    from training.train.run_folder import line

    # Only the first of several processes prints.
    console = Console(quiet=os.environ.get("RANK", "0") != "0")
    parts = 100_000
    columns = "{task.percentage:.1f} %  loss {task.fields[loss]}  IoU {task.fields[iou]}"
    with _progress(console, columns, seconds=300) as bar:
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
    checkpoint: CheckpointArgument,
    data: DataOption,
    mode: Annotated[
        list[str] | None,
        typer.Option(
            help="clicks (default), clicks+phrase (both at once), phrase, or phrase+clicks (the "
            "phrase first); repeatable."
        ),
    ] = None,
    compare: Annotated[
        list[str] | None, typer.Option(help="Another checkpoint on the same cases; repeatable.")
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
        bool, typer.Option("--probes", help="Also run the behaviour tests of prompts.")
    ] = False,
    device: DeviceOption = "auto",
    json: JsonOption = None,
    csv: Annotated[
        Path | None, typer.Option(help="Write one row per object here.", callback=_for_results)
    ] = None,
) -> None:
    """Measure checkpoints: interactions needed (NoC) and IoU reached, as served.

    Ctrl-C stops early; the results so far are shown and written.
    """
    from rich.console import Console

    from training.evaluation.evaluation import main, remarks, tables, write_csv, write_json
    from training.evaluation.protocol import MODES

    wanted = mode or ["clicks"]
    modes = [known for name in wanted for known in MODES if known == name]
    if len(modes) < len(wanted):
        raise typer.BadParameter(f"--mode is one of {', '.join(MODES)}.")
    console = Console()
    with _progress(console, "{task.completed}/{task.total}", seconds=120) as bar:
        task = bar.add_task("evaluating", total=None)
        figures = main(
            _folder(context, checkpoint),
            data=data,
            modes=modes,
            compare=[_folder(context, other) for other in compare or ()],
            sources=source or (),
            limit=limit,
            jitters=jitter or [0.0],
            at_least=at_least,
            probes=probes,
            device=device,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if json is not None:
        write_json(json, figures)
    if csv is not None:
        write_csv(csv, figures)
    for table in tables(figures):
        console.print(table)
    for remark in remarks(figures):
        console.print(remark, style="yellow", highlight=False)
    _say_written(console, json, csv)
    if not figures["complete"]:
        # The usual exit status after Ctrl-C.
        raise typer.Exit(130)


def calibrate(
    context: typer.Context,
    checkpoint: CheckpointArgument,
    data: DataOption,
    out: Annotated[Path, typer.Option(help="Folder of the new checkpoint; must not exist.")],
    limit: Annotated[int, typer.Option(min=1, help="Objects of each source at most.")] = 100,
    device: DeviceOption = "auto",
) -> None:
    """Fit a checkpoint's confidence to measured IoU and write the result as a new checkpoint."""
    from rich.console import Console

    from training.data import open_dataset
    from training.evaluation.calibration import write_calibrated

    console = Console()
    with _progress(console, "{task.completed}/{task.total}", seconds=120) as bar:
        task = bar.add_task("calibrating", total=None)
        version, report = write_calibrated(
            _folder(context, checkpoint),
            out,
            open_dataset(list(data)),
            limit=limit,
            device=device,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    console.print(
        f"{version}: expected calibration error {report.error:.3f}, correlation with IoU "
        f"{report.correlation:.2f}, on {report.count} objects (cross-validated)."
    )
    _say_written(console, out)


def average(
    context: typer.Context,
    checkpoints: Annotated[
        list[str], typer.Argument(help="Checkpoints that were trained from the same one.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the new checkpoint; must not exist.")],
    shares: Annotated[
        str, typer.Option(help="How much of each, separated by commas; by default the same.")
    ] = "",
) -> None:
    """Average the weights of checkpoints and write the result as a new checkpoint."""
    from training.train.averaging import write_average

    folders = [_folder(context, checkpoint) for checkpoint in checkpoints]
    version = write_average(folders, out, _numbers(shares) if shares else ())
    typer.echo(f"{version}: {out}")


def reencode(
    shards: Annotated[list[Path], typer.Argument(help="Shards of a pack (.tar).")],
    out: Annotated[Path, typer.Option(help="Folder for shards of the same names.")],
    longest: Annotated[int, typer.Option(min=64, help="Longest side in pixels.")] = 448,
    mebibytes: Annotated[float, typer.Option(min=0.1, help="Size of all shards together.")] = 60.0,
) -> None:
    """Make a pack smaller: shrink its pictures and lower their quality until it fits."""
    from training.data.pack import reencode as run

    quality, size = run(shards, out, longest=longest, most_bytes=round(mebibytes * 2**20))
    typer.echo(f"{len(shards)} shards, {size / 2**20:.1f} MiB at WebP quality {quality}: {out}")


def simulate(
    context: typer.Context,
    team: Annotated[
        str,
        typer.Option(help="The team's pictures, unknown to the model: [FORMAT:]PATH[?OPTIONS]."),
    ],
    labels: Annotated[
        str, typer.Option(help="Numbers of labeled pictures, separated by commas.")
    ] = "20,50",
    budget: Annotated[
        Literal["quick", "thorough"], typer.Option(help="Of the trainings.")
    ] = "thorough",
    seed: Annotated[
        int, typer.Option(min=0, help="Of the split, the trainings and the tests.")
    ] = 1,
    start: Annotated[
        str, typer.Option(help="The first version: a folder, 'shipped', or a version's name.")
    ] = "shipped",
    strategy: Annotated[
        Literal["random", "saving", "clicks", "uncertainty"],
        typer.Option(help="How pictures are chosen."),
    ] = "random",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0 is torch's choice.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    out: Annotated[
        Path | None,
        typer.Option(help="Keep rows and versions here; the same command resumes in it."),
    ] = None,
    json: JsonOption = None,
    picture: Annotated[
        Path | None, typer.Option(help="Draw the curve here (.png, .svg).", callback=_for_drawing)
    ] = None,
) -> None:
    """Simulate a team: what do its labels save?

    Pictures are divided by a hash: at most half may be labeled, objects of the others are tested.
    """
    import dataclasses
    import tempfile

    from rich.console import Console

    from training.evaluation.evaluation import write_json
    from training.finetune.recipe import BUDGETS
    from training.simulate import simulate as simulation

    plan = simulation.Plan(
        labels=_numbers(labels),
        seed=seed,
        strategy=strategy,
        recipe=dataclasses.replace(BUDGETS[budget], threads=threads, device=device),
    )
    console = Console()
    with (
        tempfile.TemporaryDirectory(prefix="phraseclick-") as temporary,
        _progress(console, "{task.percentage:.0f} %") as bar,
    ):
        task = bar.add_task("Reading the pictures", total=1.0)
        done = simulation.simulate(
            team,
            out or Path(temporary),
            plan,
            start=_folder(context, start),
            tell=lambda share, what: bar.update(task, completed=share, description=what),
        )
    console.print(simulation.table(done))
    for sentence in simulation.sentences(done):
        console.print(sentence, highlight=False)
    if json is not None:
        write_json(json, simulation.as_json(done))
    if picture is not None:
        simulation.draw(done, picture)
    _say_written(console, json, picture)


def _say_written(console: Console, *files: Path | None) -> None:
    for file in files:
        if file is not None:
            console.print(f"Written: {file}", highlight=False)


def _progress(console: Console, text: str, *, seconds: float = 30.0) -> Progress:
    """A progress bar with the task's description and this text.

    seconds: the period over which the remaining time is estimated.
    """
    from rich import progress

    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.TextColumn(text),
        progress.TimeElapsedColumn(),
        progress.TextColumn("left"),
        progress.TimeRemainingColumn(),
        console=console,
        speed_estimate_period=seconds,
    )


def _folder(context: typer.Context, checkpoint: str) -> str:
    """The checkpoint's folder; the app that runs the command looks up names of versions."""
    known = checkpoint == "shipped" or Path(checkpoint).is_dir() or context.obj is None
    return checkpoint if known else str(context.obj(checkpoint))


def _numbers(text: str) -> tuple[int, ...]:
    """The numbers in a text such as 20,50."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise typer.BadParameter(f"'{text}' is not a list of numbers: write it as in 20,50.")
    return tuple(int(part) for part in parts)
