// The probes of running containers: their timing and their results. Rules: kubernetes pkg/kubelet/prober/worker.go.
import type { Container, Probe } from '../../k8s/types.generated.ts';
import type { Call } from '../cri/client.ts';
import type { ProbeResult, ProbeResults } from '../pod/actions.ts';
import { runProbe } from './run.ts';

export type ProbeKind = 'startup' | 'liveness' | 'readiness';

export interface ProbedContainer {
  readonly container: Container;
  readonly id: string;
  readonly podIp: string;
  /** Milliseconds since 1970. */
  readonly startedAt: number;
  /** What the API says of it already: for a container that this kubelet finds running. */
  readonly known: { readonly ready: boolean; readonly started: boolean };
}

export interface ContainerProbes {
  results(): ProbeResults & { readiness?: ProbeResult | undefined };
  /** Ready and started as far as probes say: true where it has no such probe. */
  readonly ready: boolean;
  readonly started: boolean;
  /** The pod is being ended: its liveness counts no more. */
  endLiveness(): void;
  stop(): void;
}

export interface ProbeListener {
  /** A result has changed. */
  changed(): void;
  /** A probe failed (or warned): for the event that the user sees. */
  unhealthy(kind: ProbeKind, output: string, warning: boolean): void;
}

interface Running {
  readonly kind: ProbeKind;
  readonly probe: Probe;
  result: ProbeResult;
  successes: number;
  failures: number;
  timer: NodeJS.Timeout | undefined;
  /** When the next run is due by periodSeconds, in milliseconds since 1970. */
  dueAt: number;
  /** The pause to the next early run. */
  earlyMs: number;
}

/**
 * Until its first success a readiness or startup probe is also run early, after 100 ms and then at twice the pause each
 * time, up to its period. An early run that fails counts for nothing; so a server that needs 300 ms to listen does not
 * wait for the whole period of 10 s to become ready.
 */
const firstEarlyMs = 100;

const title: Readonly<Record<ProbeKind, string>> = { startup: 'Startup', liveness: 'Liveness', readiness: 'Readiness' };

/** The text of an Unhealthy event. */
export const unhealthyMessage = (kind: ProbeKind, output: string, warning: boolean): string =>
  warning ? `${title[kind]} probe warning: ${output}` : `${title[kind]} probe failed: ${output}`;

/** Begins to probe one container instance. Liveness and readiness begin when the startup probe has passed. */
export function startProbes(call: Call, target: ProbedContainer, listener: ProbeListener): ContainerProbes {
  const { container } = target;
  const probes = new Map<ProbeKind, Running>();
  let stopped = false;
  const add = (kind: ProbeKind, probe: Probe | undefined, initial: ProbeResult): void => {
    if (probe !== undefined)
      probes.set(kind, {
        kind,
        probe,
        result: initial,
        successes: 0,
        failures: 0,
        timer: undefined,
        dueAt: 0,
        earlyMs: kind === 'liveness' ? Number.POSITIVE_INFINITY : firstEarlyMs,
      });
  };
  add('startup', container.startupProbe, target.known.started ? 'success' : 'unknown');
  add('liveness', container.livenessProbe, 'success');
  add('readiness', container.readinessProbe, target.known.ready ? 'success' : 'failure');

  const schedule = (running: Running, delayMs: number): void => {
    clearTimeout(running.timer);
    if (!stopped) running.timer = setTimeout(() => void run(running), Math.max(0, delayMs));
  };

  const run = async (running: Running): Promise<void> => {
    const { kind, probe } = running;
    const periodMs = (probe.periodSeconds ?? 10) * 1000;
    const counts = Date.now() >= running.dueAt;
    if (counts) running.dueAt = Date.now() + periodMs;
    const outcome = await runProbe(probe, { container, containerId: target.id, podIp: target.podIp, call });
    if (stopped || probes.get(kind) !== running) return;
    if (outcome.success) running.earlyMs = Number.POSITIVE_INFINITY;
    else if (!counts) {
      running.earlyMs *= 2;
      schedule(running, Math.min(running.earlyMs, running.dueAt - Date.now()));
      return;
    }
    if (!outcome.success || outcome.warning === true)
      listener.unhealthy(kind, outcome.output, outcome.warning === true && outcome.success);
    const before = running.result;
    running.result = nextResult(running, outcome.success);
    if (kind === 'startup' && running.result === 'success') begin();
    // A container that is to be killed is not probed any more; startup probes end with their success.
    const over =
      (kind !== 'readiness' && running.result === 'failure') || (kind === 'startup' && running.result === 'success');
    if (!over) schedule(running, Math.min(running.earlyMs, running.dueAt - Date.now()));
    if (running.result !== before) listener.changed();
  };

  const startOne = (running: Running): void => {
    const delay = (running.probe.initialDelaySeconds ?? 0) * 1000;
    schedule(running, Math.max(0, target.startedAt + delay - Date.now()));
  };
  const begin = (): void => {
    for (const running of probes.values()) if (running.kind !== 'startup') startOne(running);
  };
  const startup = probes.get('startup');
  if (startup !== undefined && startup.result !== 'success') startOne(startup);
  else begin();

  return {
    results: () => ({
      startup: probes.get('startup')?.result,
      liveness: probes.get('liveness')?.result,
      readiness: probes.get('readiness')?.result,
    }),
    get ready() {
      return (probes.get('readiness')?.result ?? 'success') === 'success';
    },
    get started() {
      return (probes.get('startup')?.result ?? 'success') === 'success';
    },
    endLiveness() {
      for (const kind of ['liveness', 'startup'] as const) {
        clearTimeout(probes.get(kind)?.timer);
        probes.delete(kind);
      }
    },
    stop() {
      stopped = true;
      for (const { timer } of probes.values()) clearTimeout(timer);
    },
  };
}

/** The result after one more run: it changes only after as many equal runs in a row as the thresholds say. */
export function nextResult(
  running: Pick<Running, 'probe' | 'result' | 'successes' | 'failures'>,
  success: boolean,
): ProbeResult {
  running.successes = success ? running.successes + 1 : 0;
  running.failures = success ? 0 : running.failures + 1;
  if (success) return running.successes >= (running.probe.successThreshold ?? 1) ? 'success' : running.result;
  return running.failures >= (running.probe.failureThreshold ?? 3) ? 'failure' : running.result;
}
