"""Has a control plane look after its instances, and give up a folder that another has, sooner than else."""

import sys

if "control_plane.cli" in sys.orig_argv:  # its agents have this in their path, too
    from control_plane import server
    from control_plane.clouds import local

    local.RESYNC_SECONDS = 3.0
    server._LOCK_SECONDS = 2
