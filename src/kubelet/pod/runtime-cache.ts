// What runs on this node: kept by containerd's events, and by a slow relist as the safety net. This is the kubelet's
// "pod lifecycle event generator".
import type { Log } from '../../log/log.ts';
import { type Cri, isMissing, isUnavailable, type TaskEvent } from '../cri/client.ts';
import type { Message } from '../cri/protocol.ts';
import { lostExits } from './lost-exits.ts';
import { label, type PodKey } from './names.ts';
import {
  byAge,
  nothingRuns,
  type PodRuntime,
  type RuntimeContainer,
  type RuntimeSandbox,
  readContainer,
  readSandbox,
  runState,
} from './runtime-status.ts';
import { readTerminationMessage } from './termination-message.ts';

export interface RuntimeCache {
  /** Resolves after the first complete listing. */
  readonly synced: Promise<void>;
  get(pod: PodKey): PodRuntime;
  /** Every pod of which the runtime has something. */
  all(): readonly PodRuntime[];
  /** Reads one pod's state from the runtime anew and tells the listener where it changed. */
  refresh(pod: PodKey): Promise<PodRuntime>;
  /** Says that this container or sandbox belongs to the pod, before its first event can come. */
  own(id: string, pod: PodKey): void;
  /** Relists now: after a reconnection, or from time to time. */
  relist(): Promise<void>;
  stop(): void;
}

const relistMs = 60_000;
const relistRetryMs = 200;
/** containerd tells of an exit before CRI's own record of it is written: look again after these pauses. */
const exitPauses = [2, 5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10_240] as const;
/**
 * After a reconnection: events before the subscription's beginning are lost, and a restarted runtime is late itself. An
 * end that the runtime has missed at two of these looks, it will never see.
 */
const latePauses = [1000, 3000, 6000, 15_000] as const;

export function startRuntimeCache(options: {
  readonly cri: Cri;
  readonly log: Log;
  /** Called after each change of a pod's state. */
  readonly onChange: (pod: PodRuntime) => void;
  /** Called after the first listing of each connection to the runtime. */
  readonly onBack?: () => void;
  /** Called where the runtime has missed the end of something and holds it to be running until it is started anew. */
  readonly onLostExit?: (ids: readonly string[]) => void;
  readonly relistMs?: number;
  /** Milliseconds after each connection to the runtime at which to look again. */
  readonly latePauses?: readonly number[];
}): RuntimeCache {
  const { cri, log, onChange } = options;
  const pods = new Map<string, PodRuntime>();
  const owners = new Map<string, PodKey>();
  const exited = new Set<string>();
  const reading = new Map<string, Promise<PodRuntime>>();
  const again = new Map<string, Promise<PodRuntime>>();
  let stopped = false;
  let markSynced: () => void = () => undefined;
  const synced = new Promise<void>((resolve) => {
    markSynced = resolve;
  });

  const store = (runtime: PodRuntime): void => {
    const before = pods.get(runtime.uid);
    for (const { id } of [...(before?.sandboxes ?? []), ...(before?.containers ?? [])]) owners.delete(id);
    for (const { id } of [...runtime.sandboxes, ...runtime.containers]) owners.set(id, runtime);
    if (runtime.sandboxes.length + runtime.containers.length === 0) pods.delete(runtime.uid);
    else pods.set(runtime.uid, runtime);
    if (JSON.stringify(before ?? nothingRuns(runtime)) !== JSON.stringify(runtime)) onChange(runtime);
  };

  const read = async (pod: PodKey): Promise<PodRuntime> => {
    const runtime = await readPod(cri, pod, pods.get(pod.uid));
    if (stopped) return runtime;
    store(runtime);
    for (const { id, state } of runtime.containers)
      if (exited.delete(id) && state === 'running') void settle({ type: 'exit', id });
    return runtime;
  };

  /** One reading at a time for each pod; a call during one gets the next, which begins after the call. */
  const refresh = (pod: PodKey): Promise<PodRuntime> => {
    const current = reading.get(pod.uid);
    if (current === undefined) {
      const started = read(pod).finally(() => reading.delete(pod.uid));
      reading.set(pod.uid, started);
      return started;
    }
    const waiting = again.get(pod.uid);
    if (waiting !== undefined) return waiting;
    const next = current
      .catch(() => undefined)
      .then(() => {
        again.delete(pod.uid);
        return refresh(pod);
      });
    again.set(pod.uid, next);
    return next;
  };

  const settle = async (event: TaskEvent): Promise<void> => {
    const owner = owners.get(event.id);
    if (owner === undefined) {
      if (event.type === 'exit') remember(exited, event.id);
      return;
    }
    for (const pause of event.type === 'exit' ? exitPauses : [0]) {
      if (stopped || (event.type === 'exit' && hasEnded(pods.get(owner.uid), event.id))) return;
      await new Promise((resolve) => setTimeout(resolve, pause));
      await refresh(owner).catch((error: unknown) => {
        if (!stopped && !isUnavailable(error))
          log.warn({ err: error, id: event.id }, 'cannot read the state of a container');
      });
    }
  };

  const relist = async (): Promise<void> => {
    const [sandboxes, containers] = await Promise.all([cri.call('ListPodSandbox', {}), cri.call('ListContainers', {})]);
    const listed = listedPods(sandboxes.items, containers.containers);
    for (const runtime of pods.values())
      if (!listed.has(runtime.uid)) listed.set(runtime.uid, { pod: runtime, seen: '' });
    await Promise.all(
      [...listed.values()].map(async ({ pod, seen }) => {
        if (seenOf(pods.get(pod.uid)) !== seen) await refresh(pod);
      }),
    );
    markSynced();
  };

  let suspects: readonly string[] = [];
  const told = new Set<string>();
  /** Looks for ends that the runtime has missed; tells of each once. */
  const findLostExits = async (): Promise<void> => {
    const [sandboxes, containers, { tasks }] = await Promise.all([
      cri.call('ListPodSandbox', {}),
      cri.call('ListContainers', {}),
      cri.call('List', {}),
    ]);
    const missed = lostExits(sandboxes.items, containers.containers, tasks);
    const lost = missed.filter((id) => suspects.includes(id) && !told.has(id));
    suspects = missed;
    if (stopped || lost.length === 0) return;
    for (const id of lost) remember(told, id);
    options.onLostExit?.(lost);
  };
  const lateLook = (): void => {
    relistLogged();
    findLostExits().catch((error: unknown) => {
      if (!stopped && !isUnavailable(error)) log.warn({ err: error }, 'cannot list the tasks of the runtime');
    });
  };

  let isBack = false;
  const relistLogged = (): void => {
    clearTimeout(retry);
    relist()
      .then(() => {
        if (isBack && !stopped) options.onBack?.();
        isBack = false;
      })
      .catch((error: unknown) => {
        if (stopped) return;
        if (!isUnavailable(error)) log.warn({ err: error }, 'cannot list what runs');
        clearTimeout(retry);
        retry = setTimeout(relistLogged, relistRetryMs);
      });
  };
  let retry: NodeJS.Timeout | undefined;
  let late: NodeJS.Timeout[] = [];
  const following = cri.follow(
    (event) => void settle(event),
    () => {
      isBack = true;
      relistLogged();
      for (const pending of late) clearTimeout(pending);
      suspects = [];
      late = (options.latePauses ?? latePauses).map((pause) => setTimeout(lateLook, pause));
    },
  );
  const timer = setInterval(relistLogged, options.relistMs ?? relistMs);

  return {
    synced,
    get: (pod) => pods.get(pod.uid) ?? nothingRuns(pod),
    all: () => [...pods.values()],
    refresh,
    own: (id, pod) => void owners.set(id, pod),
    relist,
    stop() {
      stopped = true;
      following.stop();
      clearInterval(timer);
      clearTimeout(retry);
      for (const pending of late) clearTimeout(pending);
    },
  };
}

/** Whether the end of a container or sandbox has been read; false for one that has not been read at all yet. */
function hasEnded(runtime: PodRuntime | undefined, id: string): boolean {
  const container = runtime?.containers.find((item) => item.id === id);
  if (container !== undefined) return container.state === 'exited';
  return runtime?.sandboxes.find((item) => item.id === id)?.ready === false;
}

function remember(ids: Set<string>, id: string): void {
  ids.add(id);
  if (ids.size <= 1000) return;
  const [oldest] = ids;
  if (oldest !== undefined) ids.delete(oldest);
}

function ownerOf(labels: Readonly<Record<string, string>>): PodKey | undefined {
  const uid = labels[label.podUid];
  if (uid === undefined) return undefined;
  return { uid, name: labels[label.podName] ?? '', namespace: labels[label.podNamespace] ?? '' };
}

function listedPods(sandboxes: readonly Message<'PodSandbox'>[], containers: readonly Message<'Container'>[]) {
  const found = new Map<string, { pod: PodKey; ids: string[] }>();
  const add = (labels: Readonly<Record<string, string>>, item: string): void => {
    const pod = ownerOf(labels);
    if (pod === undefined) return;
    const entry = found.get(pod.uid) ?? { pod, ids: [] };
    entry.ids.push(item);
    found.set(pod.uid, entry);
  };
  for (const item of sandboxes) add(item.labels, `${item.id} ${item.state === 'SANDBOX_READY'}`);
  for (const item of containers) add(item.labels, `${item.id} ${runState(item.state)}`);
  return new Map([...found].map(([uid, { pod, ids }]) => [uid, { pod, seen: ids.sort().join() }]));
}

/** A pod's identities and states as text: equal where a relist brought nothing new. */
function seenOf(runtime: PodRuntime | undefined): string {
  if (runtime === undefined) return '';
  return [
    ...runtime.sandboxes.map(({ id, ready }) => `${id} ${ready}`),
    ...runtime.containers.map(({ id, state }) => `${id} ${state}`),
  ]
    .sort()
    .join();
}

async function readPod(cri: Cri, pod: PodKey, before: PodRuntime | undefined): Promise<PodRuntime> {
  const filter = { labelSelector: { [label.podUid]: pod.uid } };
  const [sandboxes, containers] = await Promise.all([
    cri.call('ListPodSandbox', { filter }),
    cri.call('ListContainers', { filter }),
  ]);
  const [sandboxStates, containerStates] = await Promise.all([
    Promise.all(sandboxes.items.map((item) => readOneSandbox(cri, item.id))),
    Promise.all(containers.containers.map((item) => readOneContainer(cri, item, before))),
  ]);
  const present = <T>(item: T | undefined): item is T => item !== undefined;
  return {
    uid: pod.uid,
    name: pod.name,
    namespace: pod.namespace,
    sandboxes: sandboxStates.filter(present).sort(byAge),
    containers: containerStates.filter(present).sort(byAge),
  };
}

async function readOneSandbox(cri: Cri, id: string): Promise<RuntimeSandbox | undefined> {
  try {
    const { status } = await cri.call('PodSandboxStatus', { podSandboxId: id });
    return status === null ? undefined : readSandbox(status);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

async function readOneContainer(
  cri: Cri,
  item: Message<'Container'>,
  before: PodRuntime | undefined,
): Promise<RuntimeContainer | undefined> {
  const known = before?.containers.find(({ id }) => id === item.id);
  // An ended container never changes again.
  if (known?.state === 'exited' && item.state === 'CONTAINER_EXITED') return known;
  try {
    const { status } = await cri.call('ContainerStatus', { containerId: item.id });
    if (status === null) return undefined;
    const message = status.state === 'CONTAINER_EXITED' ? await readTerminationMessage(status) : undefined;
    return readContainer(status, item.podSandboxId, message ?? status.message);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}
