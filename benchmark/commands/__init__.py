"""What the commands of `ssl-bench` do; `benchmark.cli` declares their options."""
