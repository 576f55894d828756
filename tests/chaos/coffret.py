"""`coffret` on the cloud of these tests: python coffret.py serve|worker …

CHAOS_SITE is the cloud's folder, CHAOS_SEED what its failures are drawn by, CHAOS_TTL the seconds that a
lease lasts, CHAOS_SILENT those after which an agent is lost, CHAOS_CLOCK those that its clock is ahead.
"""

import datetime
import os
import sys

if "agents" in sys.argv:  # gevent must be first
    from gevent import monkey

    monkey.patch_all()

if __name__ == "__main__":
    import time_machine
    from faulty_cloud import open_cloud

    from control_plane import cli
    from control_plane.clouds import registry
    from control_plane.work import lease, sweep

    ahead = datetime.timedelta(seconds=float(os.environ["CHAOS_CLOCK"]))
    time_machine.travel(datetime.datetime.now(datetime.UTC) + ahead, tick=True).start()
    registry.CLOUDS["noop"] = open_cloud
    lease.TTL = float(os.environ["CHAOS_TTL"])
    lease._RENEW_AFTER = lease.TTL / 4
    sweep.SILENT = float(os.environ["CHAOS_SILENT"])
    cli.main(prog_name="coffret")
