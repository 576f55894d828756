"""`python -m bench`: what Coffret costs over the bare engine, the bare web server, the bare plan.

Every figure is measured against its own floor in the same run, in turns with it, so that a busy
machine slows both. A value is the median of its rounds.
"""
