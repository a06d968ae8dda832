"""The folder that a match leaves: written by `ResultWriter`, read by `ResultFolder`.

    result.json                        inputs with digests, units by layer, summary, timings
    pairs.csv                          anchor, partner, scores, null, rank, halves
    scores-<backbone>.npy              float32 [anchor units, backbone units], -inf where dead
    scores-<backbone>-centred.npy      the position-centred scores
    neighbours-<backbone>.safetensors  best K of rows and columns: table, null, halves, snapshots
    dead-<model>.npy                   bool [units]
    stats-<model>.safetensors          per layer: mean, deviation, kurtosis, low, high
    views-<model>.safetensors          uint8 maps of matched units on some images
    previews.webp                      pictures, 64 a sheet (previews-1.webp, ... hold the rest)

Two backbones share a table named `<rows>+<columns>`; names are percent-encoded. Whole tables, views
and previews may be missing: a packed dictionary keeps `.safetensors.xz` files of few neighbours and
some views instead, and a NOTICE.txt with the models' terms. A person's own title lies in
`title.json`, and an empty file `saved` marks what a person saved. Nothing here is ever unpickled;
opening a result needs no torch. Questions are answered by `rosetta_ui.matching.answers`.
"""

from __future__ import annotations

from rosetta_ui.store.arrays import ModelViews, NeighbourArrays, UnitStats, Views, quantised
from rosetta_ui.store.folder import ResultFolder
from rosetta_ui.store.record import ModelRecord, ResultRecord, RunFacts, TableRecord, Which
from rosetta_ui.store.shelf import ResultShelf
from rosetta_ui.store.writer import ResultWriter

__all__ = [
    "ModelRecord",
    "ModelViews",
    "NeighbourArrays",
    "ResultFolder",
    "ResultRecord",
    "ResultShelf",
    "ResultWriter",
    "RunFacts",
    "TableRecord",
    "UnitStats",
    "Views",
    "Which",
    "quantised",
]
