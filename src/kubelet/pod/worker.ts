// One pod's state machine on its node: it is brought up, kept as its spec says, ended and removed. Every step looks at
// the pod and at what runs, decides, and does; a change of either wakes it again.
import { setTimeout as sleep } from 'node:timers/promises';
import { isNotFound } from '../../k8s/client.ts';
import type { Stored } from '../../k8s/object.ts';
import { pods } from '../../k8s/resources.ts';
import type { Pod } from '../../k8s/types.generated.ts';
import { forbiddenSysctl } from '../container/security.ts';
import { isLeftover, isUnavailable } from '../cri/client.ts';
import { computePodActions } from './actions.ts';
import { podStatus } from './api-status.ts';
import { BringUpError, bringUp, prepareVolumes } from './bring-up.ts';
import { cleanUpPod, collectGarbage } from './clean-up.ts';
import { timeOf, type Waiting } from './container-statuses.ts';
import { garbageOf } from './garbage.ts';
import { type Deadline, deadlineIn, killContainer, killPod, stopContainer } from './kill.ts';
import { type PodKey, podKey } from './names.ts';
import type { NodeContext } from './node-context.ts';
import { createPodProbes, type PodProbes } from './pod-probes.ts';
import { allContainers, isTerminalPhase, type PodRuntime } from './runtime-status.ts';

const firstRetryMs = 200;
const maxRetryMs = 20_000;

export class PodWorker {
  readonly key: PodKey;
  private pod: Stored<Pod>;
  private readonly node: NodeContext;
  private readonly onCleaned: () => void;
  private readonly waiting = new Map<string, Waiting>();
  private readonly probes: PodProbes;
  private readonly abort = new AbortController();
  /** The pod is no more in the API. */
  private removed = false;
  /** Why the kubelet itself ends the pod. */
  private failure: { reason: string; message: string } | undefined;
  private deadline: Deadline | undefined;
  private volumesDirty = false;
  private dirty = false;
  private looping = false;
  private stopped = false;
  private failures = 0;
  /** All of the pod has been stopped, and the API was asked to forget it: neither is done twice. */
  private tornDown = false;
  private deleteAsked = false;
  private timer: NodeJS.Timeout | undefined;

  constructor(node: NodeContext, pod: Stored<Pod>, onCleaned: () => void) {
    this.node = node;
    this.pod = pod;
    this.key = podKey(pod);
    this.onCleaned = onCleaned;
    this.probes = createPodProbes(
      node,
      () => this.pod,
      () => {
        this.report();
        this.wake();
      },
    );
    node.objects.register(pod, () => {
      this.volumesDirty = true;
      this.wake();
    });
    this.probes.follow(pod, this.runtime, this.ending);
    this.report();
    this.wake();
  }

  /** The pod's object has changed. */
  update(pod: Stored<Pod>): void {
    this.pod = pod;
    this.volumesDirty = true;
    if (this.ending) this.beginEnd();
    this.report();
    this.wake();
  }

  /** The pod's object is gone, this is how it was last: whatever of it is left goes too. */
  remove(last: Stored<Pod>): void {
    this.pod = last;
    this.removed = true;
    this.beginEnd();
    this.wake();
  }

  /** What runs has changed. */
  runtimeChanged(runtime: PodRuntime): void {
    this.probes.follow(this.pod, runtime, this.ending);
    this.report();
    this.wake();
  }

  /** The runtime is back: what failed while it was away is tried again at once. */
  retry(): void {
    this.failures = 0;
    this.wake();
  }

  /** The kubelet stops; the pod goes on running. */
  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
    this.probes.stop();
    this.abort.abort(new Error('the kubelet stops'));
  }

  private get runtime(): PodRuntime {
    return this.node.cache.get(this.key);
  }

  private get ending(): boolean {
    return this.removed || this.pod.metadata.deletionTimestamp != null || this.failure !== undefined;
  }

  /** Ends what is being done for the pod's start, and sets or shortens its grace period. */
  private beginEnd(): void {
    this.abort.abort(new Error('the pod is being ended'));
    const seconds = this.pod.metadata.deletionGracePeriodSeconds ?? this.pod.spec.terminationGracePeriodSeconds ?? 30;
    if (this.deadline === undefined) {
      this.deadline = deadlineIn(seconds);
      return;
    }
    const shorter = Date.now() + seconds * 1000;
    if (shorter >= this.deadline.at) return;
    this.deadline.at = shorter;
    for (const { id, state } of this.runtime.containers)
      if (state === 'running')
        stopContainer(this.node, id, Math.max(seconds, 1)).catch((error: unknown) => this.warn(error, 'cannot stop'));
  }

  private warn(error: unknown, what: string): void {
    this.node.log.warn({ err: error, pod: `${this.key.namespace}/${this.key.name}` }, what);
  }

  private wake(): void {
    this.dirty = true;
    if (this.looping || this.stopped) return;
    this.looping = true;
    void this.loop();
  }

  private async loop(): Promise<void> {
    while (this.dirty && !this.stopped) {
      this.dirty = false;
      clearTimeout(this.timer);
      const retryMs = await this.attempt();
      if (retryMs !== undefined && !this.dirty)
        this.timer = setTimeout(() => this.wake(), Math.min(Math.max(retryMs, 1), 2 ** 31 - 1));
    }
    this.looping = false;
  }

  private async attempt(): Promise<number | undefined> {
    try {
      const retryMs = await (this.ending ? this.end() : this.sync());
      this.failures = 0;
      return retryMs;
    } catch (error) {
      if (this.stopped) return undefined;
      if (this.ending && this.abort.signal.reason === error) return 0;
      if (!(error instanceof BringUpError) && !isUnavailable(error) && !isLeftover(error))
        this.warn(error, 'cannot bring the pod to its state');
      // The next step must see what this one has made, or what an earlier one makes still.
      await this.node.cache.refresh(this.key).catch(() => undefined);
      return Math.min(firstRetryMs * 2 ** this.failures++, maxRetryMs);
    }
  }

  /** One step of a pod that shall run. Resolves with the milliseconds until it is worth to look again. */
  private async sync(): Promise<number | undefined> {
    const { node, pod } = this;
    let { runtime } = this;
    if (this.refuse()) return 0;
    const deadlineMs = this.checkDeadline();
    if (deadlineMs === 0) return 0;
    if (isTerminalPhase(pod.status?.phase)) {
      if (isUp(runtime)) await this.kill(runtime);
      return undefined;
    }
    const actions = computePodActions(pod, runtime, (container) => this.probes.results(container));
    if (actions.killPod && isUp(runtime)) {
      await this.kill(runtime);
      runtime = this.runtime;
    }
    if (actions.containersToKill.length > 0) {
      await Promise.all(
        actions.containersToKill.map(({ container, reason, message }) =>
          killContainer(node, pod, container, deadlineIn(this.graceOf(container.name, reason)), message),
        ),
      );
      await node.cache.refresh(this.key);
      this.dirty = true;
      return undefined;
    }
    const setWaiting = (name: string, waiting: Waiting | undefined): boolean => {
      const before = this.waiting.get(name);
      if (waiting === undefined) this.waiting.delete(name);
      else this.waiting.set(name, waiting);
      this.report();
      return before?.reason !== waiting?.reason || before?.message !== waiting?.message;
    };
    const retryMs = await bringUp(node, pod, actions, { setWaiting }, this.abort.signal);
    await this.refreshVolumes(actions.createSandbox);
    await collectGarbage(node, this.key, garbageOf(this.runtime));
    return earliest(retryMs, deadlineMs, this.tokenMs());
  }

  /** A pod that this node may not run fails at once. */
  private refuse(): boolean {
    const message = forbiddenSysctl(this.pod);
    if (message === undefined || isTerminalPhase(this.pod.status?.phase)) return false;
    this.fail('SysctlForbidden', message);
    return true;
  }

  /** Milliseconds to the pod's activeDeadlineSeconds; 0 where it has passed and the pod now ends. */
  private checkDeadline(): number | undefined {
    const seconds = this.pod.spec.activeDeadlineSeconds;
    const startedAt = Date.parse(this.pod.status?.startTime ?? '');
    if (seconds === undefined || Number.isNaN(startedAt) || isTerminalPhase(this.pod.status?.phase)) return undefined;
    const rest = startedAt + seconds * 1000 - Date.now();
    if (rest > 0) return rest;
    this.fail('DeadlineExceeded', 'Pod was active on the node longer than the specified deadline');
    return 0;
  }

  private fail(reason: string, message: string): void {
    this.failure = { reason, message };
    this.node.recorder.event(this.pod, 'Warning', reason, message);
    this.beginEnd();
  }

  private graceOf(container: string, reason: string): number {
    const spec = allContainers(this.pod).find(({ name }) => name === container);
    const probe = reason === 'Startup' ? spec?.startupProbe : reason === 'Liveness' ? spec?.livenessProbe : undefined;
    return probe?.terminationGracePeriodSeconds ?? this.pod.spec.terminationGracePeriodSeconds ?? 30;
  }

  private async kill(runtime: PodRuntime): Promise<void> {
    const deadline = this.deadline ?? deadlineIn(this.pod.spec.terminationGracePeriodSeconds ?? 30);
    await killPod(this.node, this.pod, runtime, deadline);
    await this.node.cache.refresh(this.key);
  }

  /** Brings the volumes that show API objects up to date, where those or the tokens have changed. */
  private async refreshVolumes(fresh: boolean): Promise<void> {
    const due = this.tokenMs() === 0;
    if (fresh || (!this.volumesDirty && !due)) {
      this.volumesDirty = false;
      return;
    }
    this.volumesDirty = false;
    await prepareVolumes(this.node, this.pod);
  }

  private tokenMs(): number | undefined {
    const at = this.node.tokens.renewAt(this.key.uid);
    return at === undefined ? undefined : Math.max(0, at - Date.now());
  }

  /** One step of a pod that shall end: nothing runs any more, the API hears of it, then nothing is left. */
  private async end(): Promise<number | undefined> {
    const { node } = this;
    this.beginEnd();
    if (isUp(this.runtime) || !this.tornDown) {
      await this.kill(this.runtime);
      // The exit of a container may be recorded a moment after the runtime has answered.
      for (let look = 0; isUp(this.runtime) && look < 50; look++) {
        await sleep(20);
        await node.cache.refresh(this.key);
      }
      if (isUp(this.runtime)) return 500;
      this.tornDown = true;
    }
    this.probes.stop();
    if (this.removed) return this.cleanUp();
    await this.writeStatus();
    if (this.pod.metadata.deletionTimestamp == null || this.removed || this.deleteAsked) return undefined;
    await node.volumes.remove(this.key.uid);
    await this.deleteObject();
    this.deleteAsked = true;
    return undefined;
  }

  private async deleteObject(): Promise<void> {
    const { name, namespace, uid } = this.pod.metadata;
    try {
      await this.node.client.delete(pods, { name, namespace }, { gracePeriodSeconds: 0, preconditions: { uid } });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }

  private async cleanUp(): Promise<undefined> {
    await cleanUpPod(this.node, this.key, this.runtime);
    this.node.objects.unregister(this.key.uid);
    this.node.tokens.forget(this.key.uid);
    this.node.statuses.forget(this.key.uid);
    this.stop();
    await this.node.cache.refresh(this.key);
    this.onCleaned();
    return undefined;
  }

  private report(): void {
    void this.writeStatus();
  }

  private writeStatus(): Promise<void> {
    if (this.removed || this.stopped) return Promise.resolve();
    return this.node.statuses.write(this.pod, (newest) =>
      podStatus({
        pod: newest,
        runtime: this.runtime,
        knowledge: {
          waiting: (name) => this.waiting.get(name),
          ready: (id) => this.probes.ready(id),
          started: (id) => this.probes.started(id),
        },
        terminating: this.ending,
        failure: this.failure,
        hostIps: this.node.hostIps,
        now: timeOf(Date.now()),
      }),
    );
  }
}

/** Whether anything of the pod runs or may run. */
function isUp(runtime: PodRuntime): boolean {
  return runtime.sandboxes.some(({ ready }) => ready) || runtime.containers.some(({ state }) => state === 'running');
}

function earliest(...times: readonly (number | undefined)[]): number | undefined {
  const known = times.filter((time) => time !== undefined);
  return known.length === 0 ? undefined : Math.min(...known);
}
