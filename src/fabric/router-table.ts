// The router between the nodes: has the routes to all pods while the fabric is `router`, and says so.
import type { Client } from '../k8s/client.ts';
import { networkConfigKey, routerAnnotation } from '../k8s/network-config.ts';
import { configMaps } from '../k8s/resources.ts';
import type { Log } from '../log/log.ts';
import type { Cidr } from '../net/address.ts';
import { FabricLoop, type Pass } from './loop.ts';
import { FabricReport } from './report.ts';
import { decideRouterTable } from './router.ts';

export interface RouterTableOptions {
  /** May change the ConfigMap kube-system/weft-config. */
  readonly client: Client;
  readonly clusterCidrs: readonly Cidr[];
  /** The router's network namespace, by its file. */
  readonly netns: string;
  readonly log: Log;
}

/** Starts to keep the router's table; the routes stay when it is stopped. */
export async function startRouterTable(options: RouterTableOptions): Promise<{ stop(): Promise<void> }> {
  const { client, clusterCidrs, netns, log } = options;
  const report = new FabricReport(log);
  let announced: boolean | undefined;
  const pass = async ({ input, kernel, surprised }: Pass): Promise<boolean> => {
    const plan = decideRouterTable(input);
    const written = kernel.write(plan, { prune: true });
    report.written(written, surprised);
    report.problems([...plan.problems, ...written.failed]);
    const isThere = input.config.fabric === 'router';
    // Before the first ConfigMap there is nobody to tell.
    if (isThere !== input.config.routerHasTable && announced !== isThere) await announce(client, isThere);
    announced = isThere;
    return written.failed.length === 0;
  };
  const loop = new FabricLoop({ client, context: { clusterCidrs }, netns, log }, pass);
  loop.start();
  return { stop: () => loop.stop() };
}

async function announce(client: Client, hasTable: boolean): Promise<void> {
  const annotations = { [routerAnnotation]: hasTable ? 'router' : null };
  await client.patch(configMaps, networkConfigKey, { type: 'merge', body: { metadata: { annotations } } });
}
