"""Tables as Parquet, each column of its type, for pandas, Polars, DuckDB and their like."""

from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from backend.reports.columns import Column, cells

if TYPE_CHECKING:
    import pyarrow

# Rows of a group: few enough to lie in memory, many enough to be packed well.
_AT_ONCE = 20_000


def write_parquet(
    path: Path,
    records: Iterable[object],
    columns: tuple[Column, ...],
    about: Mapping[str, str],
) -> None:
    """One file, written group by group. about: what a reader finds in the file's own notes."""
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    form = pyarrow.schema([(it.name, _type(it)) for it in columns], metadata=dict(about))
    rows = cells(records, columns)
    with ParquetWriter(path, form, compression="zstd") as writer:
        while group := list(islice(rows, _AT_ONCE)):
            arrays = [
                pyarrow.array(values, field.type)
                for values, field in zip(zip(*group, strict=True), form, strict=True)
            ]
            writer.write_table(pyarrow.Table.from_arrays(arrays, schema=form))


def _type(column: Column) -> "pyarrow.DataType":
    import pyarrow

    plain = {
        "text": pyarrow.string(),
        "integer": pyarrow.int64(),
        "number": pyarrow.float64(),
        "flag": pyarrow.bool_(),
        "time": pyarrow.timestamp("us", tz="UTC"),
    }[column.kind]
    return pyarrow.list_(plain) if column.several else plain
