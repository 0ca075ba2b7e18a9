// The network of a running pod as the host sees it: found by the processes in the pod's cgroup.
import { existsSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { foldersOf, processesIn } from './cgroups.ts';
import type { ClusterLayout } from './layout.ts';

export interface PodNetwork {
  /** A file that leads to its network namespace, for as long as the pod runs. */
  readonly netns: string;
  /** What /etc/resolv.conf says in its containers. */
  readonly resolvConf: string;
}

/** The network of the pod with that UID; undefined where none of its containers runs on a node of this cluster. */
export function podNetwork(layout: Pick<ClusterLayout, 'nodes'>, uid: string): PodNetwork | undefined {
  for (const node of layout.nodes) {
    const folders = foldersOf(node.cgroup).filter((folder) => basename(folder) === `pod${uid}`);
    if (folders.length === 0) continue;
    for (const pid of processesIn(`${node.cgroup}/pod${uid}`)) {
      const resolvConf = `/proc/${pid}/root/etc/resolv.conf`;
      // The pause container has no such file.
      if (existsSync(resolvConf)) return { netns: `/proc/${pid}/ns/net`, resolvConf: readFileSync(resolvConf, 'utf8') };
    }
  }
  return undefined;
}
