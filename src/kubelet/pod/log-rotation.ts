// Keeps the logs of running containers from filling the node's disk: looks at their sizes from time to time.
import { defaultLogLimits, rotateLog } from '../container/log-files.ts';
import { isUnavailable } from '../cri/client.ts';
import type { NodeContext } from './node-context.ts';

/** containerLogMonitorInterval of the kubelet's configuration. */
const lookEveryMs = 10_000;

/** Looks every ten seconds, at one log after the other, until `stop`. */
export function startLogRotation(
  node: Pick<NodeContext, 'cache' | 'cri' | 'log'>,
  limits = defaultLogLimits,
): { stop(): void } {
  let busy = false;
  const look = async (): Promise<void> => {
    const running = node.cache.all().flatMap(({ containers }) => containers.filter(({ state }) => state === 'running'));
    for (const { id, logPath } of running) {
      if (logPath === '') continue;
      try {
        await rotateLog(logPath, limits, () => node.cri.call('ReopenContainerLog', { containerId: id }), new Date());
      } catch (error) {
        if (!isUnavailable(error)) node.log.warn({ err: error, log: logPath }, 'cannot rotate a log');
      }
    }
  };
  const timer = setInterval(() => {
    if (busy) return;
    busy = true;
    void look().finally(() => {
      busy = false;
    });
  }, lookEveryMs);
  return { stop: () => clearInterval(timer) };
}
