// The kernel's settings that the IPVS mode needs, in this process's network namespace; kube-proxy's.
import { readFileSync } from 'node:fs';
import { release } from 'node:os';
import { writeSysctl } from '../../linux/netns.ts';

/** From here on a connection of the same ports as one that just ended costs nothing, and the setting stays as it is. */
const reuseIsCheap = [5, 9] as const;

/** Sets them. Throws where the kernel has no such setting, which is so without IPVS. */
export function setIpvsSysctls(): void {
  // Connections are in conntrack too, so that they can be masqueraded.
  writeSysctl('net/ipv4/vs/conntrack', '1');
  if (!isAtLeast(release(), reuseIsCheap)) writeSysctl('net/ipv4/vs/conn_reuse_mode', '0');
  // Connections to a real server that is gone end at their next packet.
  writeSysctl('net/ipv4/vs/expire_nodest_conn', '1');
  // Session affinity does not hold a client at a real server that gets no new connections.
  writeSysctl('net/ipv4/vs/expire_quiescent_template', '1');
  writeSysctl('net/ipv4/ip_forward', '1');
  // The node has the addresses of all Services; it must not answer for them on its links, where an address of a load
  // balancer is announced by one node alone, and not name them as its own (kube-proxy: --ipvs-strict-arp).
  raise('net/ipv4/conf/all/arp_ignore', 1);
  raise('net/ipv4/conf/all/arp_announce', 2);
}

function raise(key: string, least: number): void {
  if (Number(readFileSync(`/proc/sys/${key}`, 'utf8')) < least) writeSysctl(key, String(least));
}

/** Whether a release of Linux (`6.1.0-50-cloud-amd64`) is that version or a later one. */
export function isAtLeast(text: string, [major, minor]: readonly [number, number]): boolean {
  const [, first, second] = /^(\d+)\.(\d+)/.exec(text) ?? [];
  return Number(first) > major || (Number(first) === major && Number(second) >= minor);
}
