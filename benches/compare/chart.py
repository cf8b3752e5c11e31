def svg(results): return ""
