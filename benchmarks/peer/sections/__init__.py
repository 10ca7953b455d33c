"""One module a section: `TITLE`, `NEEDS` and `measure(context) -> Section`; `benchmarks.peer.table` lists them."""
