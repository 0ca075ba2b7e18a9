// One run of a probe: exec, httpGet, tcpSocket or grpc. Rules: kubernetes pkg/kubelet/prober/prober.go.
import { connect } from 'node:net';
import type { Container, Probe } from '../../k8s/types.generated.ts';
import type { Call } from '../cri/client.ts';
import { httpGet, httpTarget, portOf } from './http.ts';
import { refusal } from './refusal.ts';

export interface ProbeOutcome {
  readonly success: boolean;
  readonly output: string;
  /** Worth an event although it counts as success. */
  readonly warning?: boolean;
}

export interface ProbeTarget {
  readonly container: Container;
  readonly containerId: string;
  readonly podIp: string;
  readonly call: Call;
}

/** Runs the probe once; never rejects. */
export async function runProbe(probe: Probe, target: ProbeTarget): Promise<ProbeOutcome> {
  const timeoutMs = (probe.timeoutSeconds ?? 1) * 1000;
  try {
    if (probe.exec !== undefined) return await runExec(probe.exec.command ?? [], target, timeoutMs);
    if (probe.httpGet !== undefined) return await runHttp(probe.httpGet, target, timeoutMs);
    if (probe.tcpSocket !== undefined) {
      const { host, port } = probe.tcpSocket;
      return await runTcp(host || target.podIp, portOf(port, target.container), timeoutMs);
    }
    if (probe.grpc !== undefined) {
      const { checkGrpcHealth } = await import('./grpc-health.ts');
      return await checkGrpcHealth(target.podIp, probe.grpc.port, probe.grpc.service ?? '', timeoutMs);
    }
    return { success: false, output: 'the probe has no action' };
  } catch (error) {
    return { success: false, output: error instanceof Error ? error.message : String(error) };
  }
}

async function runExec(command: readonly string[], target: ProbeTarget, timeoutMs: number): Promise<ProbeOutcome> {
  const { exitCode, stdout, stderr } = await target.call(
    'ExecSync',
    { containerId: target.containerId, cmd: command, timeout: Math.ceil(timeoutMs / 1000) },
    { timeoutMs: timeoutMs + 2000 },
  );
  const output = Buffer.concat([stdout, stderr])
    .toString('utf8')
    .slice(0, 10 * 1024);
  return { success: exitCode === 0, output };
}

async function runHttp(
  action: NonNullable<Probe['httpGet']>,
  target: ProbeTarget,
  timeoutMs: number,
): Promise<ProbeOutcome> {
  const { status, body, otherHost } = await httpGet(httpTarget(action, target.container, target.podIp), timeoutMs);
  if (otherHost !== undefined)
    return { success: true, warning: true, output: `Probe terminated redirects, Response body: ${body}` };
  if (status >= 200 && status < 400) return { success: true, output: body };
  return { success: false, output: `HTTP probe failed with statuscode: ${status}` };
}

function runTcp(host: string, port: number, timeoutMs: number): Promise<ProbeOutcome> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const text = `dial tcp ${host.includes(':') ? `[${host}]` : host}:${port}`;
    const finish = (outcome: ProbeOutcome): void => {
      socket.destroy();
      resolve(outcome);
    };
    socket.setTimeout(timeoutMs, () => finish({ success: false, output: `${text}: i/o timeout` }));
    socket.on('connect', () => finish({ success: true, output: '' }));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      finish({ success: false, output: refusal(host, port, error) });
    });
  });
}
