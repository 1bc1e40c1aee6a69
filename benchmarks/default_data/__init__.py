"""Training data of the packaged models, one module each: `Data(folder)` with `batch`, `validate` and `test`."""
