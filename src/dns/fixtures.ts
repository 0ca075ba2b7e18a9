// What tests of DNS begin with: a server on this machine's loopback, and the Corefile that most clusters have.
import { createLog } from '../log/log.ts';
import type { DnsOptions } from './start.ts';

/** A server for `cluster.local` at ports that the kernel chooses, without upstreams; the client is the test's own. */
export const onLoopback = () =>
  ({
    zone: 'cluster.local',
    addresses: ['127.0.0.1'],
    port: 0,
    upstreams: [],
    log: createLog('dns'),
    metricsPort: 0,
    healthPort: 0,
    readyPort: 0,
    queryPort: 0,
  }) satisfies Omit<DnsOptions, 'client'>;

/** The Corefile that kubeadm writes (kubeadm 1.36). */
export const kubeadmCorefile = `.:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30 {
       disable success cluster.local
       disable denial cluster.local
    }
    loop
    reload
    loadbalance
}
`;
