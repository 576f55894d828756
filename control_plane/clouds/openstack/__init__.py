"""The openstack cloud: Nova, Cinder, Neutron and Glance, by openstacksdk (the extra `openstack`)."""
