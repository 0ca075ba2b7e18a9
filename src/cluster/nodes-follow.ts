// Waits until the nodes of a cluster have done what was asked of them, as their Node objects say.
import type { Client } from '../k8s/client.ts';
import { nodes } from '../k8s/resources.ts';
import type { Node } from '../k8s/types.generated.ts';

/**
 * Resolves when no node is behind any more. Throws after so many ms, with the names of those that still are.
 * `what` is what they shall have in place: `the fabric vxlan`.
 */
export async function nodesFollow(
  client: Client,
  what: string,
  behind: (all: readonly Node[]) => string[],
  patienceMs: number,
): Promise<void> {
  const cache = client.cache(nodes);
  let end = (): void => {};
  let timer: NodeJS.Timeout | undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      const look = (): void => {
        if (cache.isSynced && behind(cache.list()).length === 0) resolve();
      };
      end = cache.subscribe(look);
      cache.synced.then(look, reject);
      timer = setTimeout(
        () =>
          reject(
            new Error(
              `after ${patienceMs / 1000} s ${what} is not in place on ${behind(cache.list()).join(', ')}: see 'kubectl get events' for their nodes`,
            ),
          ),
        patienceMs,
      );
    });
  } finally {
    clearTimeout(timer);
    end();
    cache.stop();
  }
}
