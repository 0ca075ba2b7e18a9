// The Corefile that a cluster begins with: kubeadm's, with the addresses that are known when it is made. Pure.
import type { Name } from '../records.ts';
import { readTarget } from './forward.ts';

export interface DefaultCorefileOptions {
  /** The cluster domain. */
  readonly zone: Name;
  /** Who answers for names outside of the cluster: addresses of DNS servers, or a file such as /etc/resolv.conf. */
  readonly upstreams: readonly string[];
  /** Seconds for which clients may keep an answer; default 30, as kubeadm's. */
  readonly ttl?: number;
}

/** The text of the Corefile; throws a CorefileError that names an upstream that is none. */
export function defaultCorefile({ zone, upstreams, ttl = 30 }: DefaultCorefileOptions): string {
  // Only what is an address or a path goes into the text: whitespace and braces are in neither.
  for (const upstream of upstreams)
    if (readTarget(upstream, undefined, 0).kind === 'file' && /[\s{}"#]/.test(upstream))
      throw new RangeError(`'${upstream}' is no path of a file for a Corefile`);
  const forward =
    upstreams.length === 0
      ? ['    # forward . 10.0.0.53        names outside of the cluster: put your DNS server here']
      : [`    forward . ${upstreams.join(' ')} {`, '       max_concurrent 1000', '    }'];
  return [
    '.:53 {',
    '    errors',
    '    health {',
    '       lameduck 5s',
    '    }',
    '    ready',
    `    kubernetes ${zone} in-addr.arpa ip6.arpa {`,
    '       pods insecure',
    '       fallthrough in-addr.arpa ip6.arpa',
    `       ttl ${ttl}`,
    '    }',
    '    # Names such as example.com are completed for pods with one question; without this line they ask again and again.',
    '    autopath @kubernetes',
    '    prometheus :9153',
    ...forward,
    '    cache 30 {',
    `       disable success ${zone}`,
    `       disable denial ${zone}`,
    '       serve_stale',
    '    }',
    '    loop',
    '    reload',
    '    loadbalance',
    '}',
    '',
  ].join('\n');
}
