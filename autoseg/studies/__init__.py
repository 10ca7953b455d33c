"""Studies put results side by side: methods, published benchmarks, raters. Nothing imports them."""
