"""`facerecon synthesise`: pictures of faces whose every parameter is known."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facerecon.checks import check_choice
from facerecon.errors import ArgumentError, BackendError

if TYPE_CHECKING:
    from facerecon.synthesis.production import SourceOptions

EXIT_SOME_NOT_OK = 3


def synthesise(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the archive; a stopped run goes on in it.")],
    count: Annotated[int | None, typer.Option("-n", "--count", min=1, help="How many heads; of photos, at most.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of everything: picture i of a seed is always the same.")] = 0,
    size: Annotated[int, typer.Option(min=32, max=1024, help="Side of the pictures, px.")] = 192,
    model: Annotated[str, typer.Option(help="open, or the path of a .facemodel.")] = "open",
    maps: Annotated[str, typer.Option(help="Of pncc,depth,normals, or none.")] = "pncc",
    backgrounds: Annotated[Path | None, typer.Option(help="Folder of pictures to show behind heads. Default: noise.")] = None,
    profile: Annotated[Path | None, typer.Option(help="Folder of photos, or a crop archive: turn the faces to larger yaw "
                                                            "instead of drawing heads.")] = None,
    fitted: Annotated[Path | None, typer.Option(help="Folder of photos, or a crop archive: keep photos as they are, with "
                                                     "the parameters of their fit, where that is good.")] = None,
    stage: Annotated[str | None, typer.Option(help="How photos are fitted: landmarks; colours, albedo and light too (default "
                                                   "with --fitted); or full, geometry by colours too (with --profile).")] = None,
    views: Annotated[int | None, typer.Option(min=1, help="With --profile: at most so many views of a photo.")] = None,
    every: Annotated[int, typer.Option(min=1, help="Take every n-th photo.")] = 1,
    people: Annotated[str, typer.Option(help="Take the photos of all, or of the train,validation or test people.")] = "all",
    workers: Annotated[int, typer.Option(min=1, max=256, help="Processes, one thread each.")] = 1,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
) -> None:
    """Make training pictures with known parameters: heads of a face model, photos turned aside, or photos with their fit.

    facerecon synthesise -n 20000 -o heads --seed 1 --workers 2

    facerecon synthesise -n 5000 -o heads --backgrounds photos --maps pncc,depth,normals

    facerecon synthesise --profile photos -o turned

    facerecon synthesise --fitted photos -o fitted

    The folder holds shards of JPEG, maps and parameters, and faces.jsonl; `facerecon train` reads it. The same command goes on
    where it was stopped or killed.
    """
    from facerecon.synthesis.sample import MAPS

    chosen = tuple(name.strip() for name in maps.split(",") if name.strip())
    chosen = () if chosen == ("none",) else tuple(check_choice("--maps", name, MAPS) for name in dict.fromkeys(chosen))
    total, dropped = fill_archive(output, count=count, seed=seed, size=size, model=model, maps=chosen, backgrounds=backgrounds,
                                  profile=profile, fitted=fitted, stage=stage, views=views, every=every, people=people,
                                  workers=workers, quiet=quiet)
    if not quiet:
        print(f"written to {output}: {total} faces{f', {dropped} photos gave none' if dropped else ''}")
    if dropped:
        raise typer.Exit(EXIT_SOME_NOT_OK)


def fill_archive(output: Path, *, count: int | None = None, seed: int = 0, size: int = 192, model: str = "open",
                 maps: tuple[str, ...] = ("pncc",), backgrounds: Path | None = None, profile: Path | None = None,
                 fitted: Path | None = None, stage: str | None = None, views: int | None = None, every: int = 1,
                 people: str = "all", workers: int = 1, quiet: bool = True) -> tuple[int, int]:
    """What the verb does, for scripts: (faces in the archive, items that gave none). Goes on where a run was stopped."""
    shared = {"count": count, "seed": seed, "size": size, "maps": maps,
              # Workers may start in another folder than the one that relative paths are meant in.
              "model": model if model == "open" else str(Path(model).absolute())}
    photos = {"stage": stage, "views": views, "every": every, "people": people}
    return _fill(output, _options(shared, photos, backgrounds, profile, fitted), workers=workers, quiet=quiet)


def _options(shared: dict[str, Any], photos: dict[str, Any], backgrounds: Path | None, profile: Path | None,
             fitted: Path | None) -> SourceOptions:
    given = [name for name, value in photos.items() if value not in (None, 1, "all")]
    if profile is None and fitted is None:
        if given:
            raise ArgumentError(f"--{given[0]}: heads are not photos; give --profile or --fitted, or leave it out")
        from facerecon.synthesis.source import HeadOptions

        if shared["count"] is None:
            raise ArgumentError("wanted -n, how many heads, or --profile or --fitted, a folder of photos")
        return HeadOptions(**shared, backgrounds=None if backgrounds is None else str(backgrounds.absolute()))
    if profile is not None and fitted is not None:
        raise ArgumentError("--profile and --fitted: wanted one of them; make an archive of each")
    if backgrounds is not None:
        raise ArgumentError("--backgrounds: a photo has its own background; leave it out")
    chosen = {name: value for name, value in photos.items() if value is not None}
    if profile is not None:
        from facerecon.synthesis.profile_jobs import ProfileOptions

        return ProfileOptions(folder=str(profile.absolute()), **shared, **chosen)
    if "views" in chosen:
        raise ArgumentError("--views: a fitted photo is one view; leave it out with --fitted")
    from facerecon.synthesis.fitted import FittedOptions

    return FittedOptions(folder=str(fitted.absolute()), **shared, **chosen)


def _fill(folder: Path, options: SourceOptions, *, workers: int, quiet: bool) -> tuple[int, int]:
    """Make the blocks that are missing and the index; (faces, dropped items) of the whole archive."""
    from facerecon.evaluation.workers import WorkerDied, run_items
    from facerecon.synthesis.archive import write_index
    from facerecon.synthesis.production import block_maker, make_block, missing_blocks, one_process

    with one_process():
        source = options.open()
        todo = missing_blocks(folder, source)
        start, made = time.perf_counter(), 0
        with _progress(quiet, len(todo)) as advance:
            if workers == 1 or len(todo) < 2:
                reports = ((number, make_block(folder, source, number)) for number in todo)
            else:
                reports = run_items(block_maker, (str(folder), options), todo, workers=workers)
            with contextlib.closing(reports):
                for number, report in reports:
                    if isinstance(report, WorkerDied):
                        raise BackendError(f"block {number}: the process that made it died, twice; run again with fewer "
                                           "--workers", code="oom")
                    made += report.faces
                    advance()
    spent = time.perf_counter() - start
    if made and not quiet:
        print(f"{made} faces in {spent:.1f} s, {made / spent:.1f} a second", file=sys.stderr)
    return write_index(folder)


@contextlib.contextmanager
def _progress(quiet: bool, total: int) -> Iterator[Callable[[], None]]:
    if quiet or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("blocks"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=total)
        yield lambda: bar.advance(task)
