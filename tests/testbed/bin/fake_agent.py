"""Report to Neutron that a linuxbridge agent lives on the fake compute's host, so that ports bind there."""

import sys
import time

from neutron.agent import rpc
from neutron.common import config as common
from neutron.conf.agent import common as agent
from neutron_lib import context
from oslo_config import cfg
from oslo_log import log
from oslo_messaging import MessagingException

SECONDS = 10
STATE = {
    "binary": "neutron-linuxbridge-agent",
    "host": "fake",
    "topic": "N/A",
    "agent_type": "Linux bridge agent",
    "start_flag": True,
    "configurations": {
        "interface_mappings": {"physnet1": "none"},
        "tunnel_types": ["vxlan"],
        "tunneling_ip": "127.0.0.1",
        "extensions": [],
        "devices": 0,
        "l2_population": False,
    },
}

common.register_common_config_options()
agent.register_agent_state_opts_helper(cfg.CONF)
common.init(sys.argv[1:])
reports = rpc.PluginReportStateAPI("q-reports-plugin")
while True:
    try:
        reports.report_state(context.get_admin_context_without_session(), STATE)
        STATE.pop("start_flag", None)
    except MessagingException as error:
        log.getLogger(__name__).warning("the report did not arrive: %s", error)
    time.sleep(SECONDS)
