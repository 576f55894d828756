"""The `coffret` command with gevent under everything: `python -m control_plane.greenlets ARGUMENTS…`

gevent must replace sockets, locks and threads of the standard library before anything else is loaded:
psycopg, for one, decides when it is imported how it waits.
"""

from gevent import monkey

if __name__ == "__main__":
    monkey.patch_all()
    from control_plane.cli import main

    main(prog_name="coffret")
