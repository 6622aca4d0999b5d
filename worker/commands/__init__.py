"""The commands of `lettrage`, a file for each kind; `worker.cli` lists them."""
