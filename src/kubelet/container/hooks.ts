// Lifecycle hooks: postStart and preStop. Rules: kubernetes pkg/kubelet/lifecycle/handlers.go.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Container, LifecycleHandler } from '../../k8s/types.generated.ts';
import type { Call } from '../cri/client.ts';
import { httpGet, httpTarget } from '../probe/http.ts';

/** Runs a hook to its end; rejects where it fails or takes longer than `timeoutMs`. */
export async function runHook(
  handler: LifecycleHandler,
  target: { readonly container: Container; readonly containerId: string; readonly podIp: string; readonly call: Call },
  timeoutMs: number,
): Promise<void> {
  if (handler.exec !== undefined) {
    const cmd = handler.exec.command ?? [];
    const seconds = Math.max(1, Math.ceil(timeoutMs / 1000));
    const answer = await target.call(
      'ExecSync',
      { containerId: target.containerId, cmd, timeout: seconds },
      { timeoutMs: timeoutMs + 1000 },
    );
    if (answer.exitCode === 0) return;
    const output = Buffer.concat([answer.stdout, answer.stderr]).toString('utf8').slice(0, 1024);
    throw new Error(
      `Exec lifecycle hook (${JSON.stringify(cmd)}) for Container "${target.container.name}" failed - error: command exited with ${answer.exitCode}: ${output}`,
    );
  }
  if (handler.httpGet !== undefined) {
    const { status } = await httpGet(httpTarget(handler.httpGet, target.container, target.podIp), timeoutMs);
    if (status < 200 || status >= 400) throw new Error(`HTTP lifecycle hook failed with statuscode: ${status}`);
    return;
  }
  if (handler.sleep !== undefined) {
    await sleep(Math.min(handler.sleep.seconds * 1000, timeoutMs));
    return;
  }
  throw new Error('the lifecycle hook has no action that this kubelet offers (exec, httpGet, sleep)');
}
