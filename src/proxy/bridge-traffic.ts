// Makes packets between two pods of one bridge pass the node's IP layer, where Service addresses are translated back.
import { readFile, writeFile } from 'node:fs/promises';
import type { Log } from '../log/log.ts';

/**
 * Answers between two pods of one bridge would not pass the node's IP layer, where the translation of Service
 * addresses is undone; these settings of br_netfilter make them.
 */
export async function letBridgesPassThrough(log: Log): Promise<void> {
  for (const key of ['bridge-nf-call-iptables', 'bridge-nf-call-ip6tables']) {
    const path = `/proc/sys/net/bridge/${key}`;
    try {
      if ((await readFile(path, 'utf8')).trim() !== '1') await writeFile(path, '1');
    } catch (error) {
      log.warn({ path, error: String(error) }, 'Services may not be reachable between pods of the same node');
    }
  }
}
