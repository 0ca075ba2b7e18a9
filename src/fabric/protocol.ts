// By what the fabric's routes and rules are told from those of others.

/** Who made a route or rule, as `ip route` shows it: no protocol of /etc/iproute2/rt_protos has this number. */
export const fabricProtocol = 118;
