// The connection to the container runtime: CRI calls, and containerd's own tasks and event stream, over gRPC on a Unix
// socket.
import * as grpc from '@grpc/grpc-js';
import { decode, encode } from './codec.ts';
import { type Message, type MessageName, methods, type Request } from './protocol.ts';

type RuntimeMethods = (typeof methods)['runtime.v1.RuntimeService'];
type ImageMethods = (typeof methods)['runtime.v1.ImageService'];
type TaskMethods = (typeof methods)['containerd.services.tasks.v1.Tasks'];
type Methods = RuntimeMethods & ImageMethods & TaskMethods;
export type MethodName = keyof Methods;
export type RequestOf<M extends MethodName> = Request<Methods[M][0]>;
export type ResponseOf<M extends MethodName> = Message<Methods[M][1]>;

/** The runtime refused a call or could not be reached; `code` is gRPC's. */
export class RuntimeError extends Error {
  override readonly name = 'RuntimeError';
  readonly code: number;

  constructor(method: string, code: number, details: string) {
    // The form in which users know it from other clusters.
    super(`rpc error: code = ${grpcCodeName(code)} desc = ${details}`);
    this.code = code;
    this.cause = method;
  }
}

function grpcCodeName(code: number): string {
  const name = grpc.status[code] ?? 'UNKNOWN';
  return name
    .split('_')
    .map((word) => word[0] + word.slice(1).toLowerCase())
    .join('');
}

/** The runtime does not answer now: it is away, or it has just started (containerd says so without a code for it). */
export const isUnavailable = (error: unknown): boolean =>
  error instanceof RuntimeError &&
  (error.code === grpc.status.UNAVAILABLE ||
    error.code === grpc.status.DEADLINE_EXCEEDED ||
    error.message.endsWith('server is not initialized yet'));
/** The runtime itself was not reached; with {@link isUnavailable} alone it may be a registry behind it. */
export const isConnectionLost = (error: unknown): boolean =>
  isUnavailable(error) &&
  error instanceof RuntimeError &&
  /Connection dropped|No connection|^rpc error: code = Unavailable desc = (read|write) E[A-Z]+$|server is not initialized/.test(
    error.message,
  );
export const isMissing = (error: unknown): boolean =>
  error instanceof RuntimeError && error.code === grpc.status.NOT_FOUND;

/**
 * Something that an earlier call left is in the way, and will be gone at the next try. Either a call to create the same
 * sandbox or container, whose answer was lost, is still being carried out, and what it makes shows in a listing soon. Or
 * containerd was killed after it had made a snapshot's folder and before its database knew of it; the failure itself has
 * removed that folder.
 */
export const isLeftover = (error: unknown): boolean =>
  error instanceof RuntimeError &&
  (/failed to reserve (sandbox|container) name/.test(error.message) || leftSnapshot.test(error.message));

const leftSnapshot =
  /(container|snapshot "[^"]*"): failed to rename: rename (\/\S+\/snapshots)\/new-\d+ \2\/\d+: (file exists|directory not empty)$/;

export interface CallOptions {
  /** Milliseconds until the call is given up; two minutes where absent, two seconds for what only reads. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
}

/** One CRI method; rejects with a RuntimeError. */
export type Call = <M extends MethodName>(
  method: M,
  request: RequestOf<M>,
  options?: CallOptions,
) => Promise<ResponseOf<M>>;

/** What happened to a container's or a sandbox's process. */
export interface TaskEvent {
  readonly type: 'start' | 'exit' | 'oom';
  /** The container's or the sandbox's id. */
  readonly id: string;
}

export interface Cri {
  readonly call: Call;
  /**
   * Follows containerd's task events until `stop` is called; connects again by itself. `onConnect` is called after each
   * (re)connection: what happened in between was missed and must be read by listing.
   */
  follow(onEvent: (event: TaskEvent) => void, onConnect: () => void): { stop(): void };
  close(): void;
}

/**
 * Reading takes the runtime a millisecond. A call that was on its way while the runtime was killed may never be answered,
 * so it must not be waited for long.
 */
const readTimeoutMs = 2000;
const changeTimeoutMs = 120_000;
const reads: ReadonlySet<MethodName> = new Set<MethodName>([
  'ListPodSandbox',
  'ListContainers',
  'PodSandboxStatus',
  'ContainerStatus',
  'ImageStatus',
  'ListImages',
  'Version',
  'Status',
  'List',
]);

const services = [
  'runtime.v1.RuntimeService',
  'runtime.v1.ImageService',
  'containerd.services.tasks.v1.Tasks',
] as const satisfies readonly (keyof typeof methods)[];

const serviceOf = (method: MethodName): string =>
  services.find((service) => method in methods[service]) ?? 'runtime.v1.RuntimeService';

/** containerd's own services, unlike CRI, ask for the namespace in which CRI keeps its containers. */
function metadata(): grpc.Metadata {
  const fields = new grpc.Metadata();
  fields.set('containerd-namespace', 'k8s.io');
  return fields;
}

/** Connects to a runtime's socket. No call fails here: the socket may come later. */
export function connectCri(socket: string): Cri {
  const client = new grpc.Client(`unix:${socket}`, grpc.credentials.createInsecure(), {
    'grpc.max_receive_message_length': 64 << 20,
    'grpc.max_send_message_length': 64 << 20,
    'grpc.initial_reconnect_backoff_ms': 50,
    'grpc.min_reconnect_backoff_ms': 50,
    'grpc.max_reconnect_backoff_ms': 1000,
    'grpc.enable_channelz': 0,
    'grpc.enable_retries': 0,
  });
  const signatures: Methods = {
    ...methods['runtime.v1.RuntimeService'],
    ...methods['runtime.v1.ImageService'],
    ...methods['containerd.services.tasks.v1.Tasks'],
  };

  const call: Call = <M extends MethodName>(method: M, request: RequestOf<M>, options: CallOptions = {}) => {
    const [input, output]: readonly [Methods[M][0], Methods[M][1]] = signatures[method];
    return new Promise<ResponseOf<M>>((resolve, reject) => {
      const pending = client.makeUnaryRequest<RequestOf<M>, ResponseOf<M>>(
        `/${serviceOf(method)}/${method}`,
        (value) => encode(input, value),
        (bytes) => decode(output, bytes),
        request,
        metadata(),
        { deadline: Date.now() + (options.timeoutMs ?? (reads.has(method) ? readTimeoutMs : changeTimeoutMs)) },
        (error, response) => {
          options.signal?.removeEventListener('abort', abort);
          if (error !== null) reject(new RuntimeError(method, error.code, error.details));
          else if (response === undefined) reject(new RuntimeError(method, grpc.status.INTERNAL, 'an empty answer'));
          else resolve(response);
        },
      );
      const abort = (): void => pending.cancel();
      if (options.signal?.aborted) abort();
      options.signal?.addEventListener('abort', abort, { once: true });
    });
  };

  return { call, follow: (onEvent, onConnect) => followTasks(client, onEvent, onConnect), close: () => client.close() };
}

const topics: Readonly<Record<string, TaskEvent['type']>> = {
  '/tasks/start': 'start',
  '/tasks/exit': 'exit',
  '/tasks/oom': 'oom',
};

function followTasks(
  client: grpc.Client,
  onEvent: (event: TaskEvent) => void,
  onConnect: () => void,
): { stop(): void } {
  let stopped = false;
  let retry: NodeJS.Timeout | undefined;
  let stream: grpc.ClientReadableStream<Message<'Envelope'>> | undefined;
  const open = (): void => {
    client.waitForReady(Date.now() + 30_000, (error) => {
      if (stopped) return;
      if (error) open();
      else subscribe();
    });
  };
  const subscribe = (): void => {
    stream = client.makeServerStreamRequest<Request<'SubscribeRequest'>, Message<'Envelope'>>(
      '/containerd.services.events.v1.Events/Subscribe',
      (value) => encode('SubscribeRequest', value),
      (bytes) => decode('Envelope', bytes),
      { filters: Object.keys(topics).map((topic) => `namespace==k8s.io,topic=="${topic}"`) },
    );
    stream.on('data', (envelope: Message<'Envelope'>) => {
      const event = readTaskEvent(envelope);
      if (event !== undefined) onEvent(event);
    });
    stream.on('error', () => {
      if (!stopped) retry = setTimeout(open, 50);
    });
    stream.on('end', () => undefined);
    onConnect();
  };
  open();
  return {
    stop() {
      stopped = true;
      clearTimeout(retry);
      stream?.cancel();
    },
  };
}

/** The event of a container's main process; events of exec sessions are left out. */
export function readTaskEvent(envelope: Message<'Envelope'>): TaskEvent | undefined {
  const type = topics[envelope.topic];
  if (type === undefined || envelope.event === null) return undefined;
  const name: MessageName = type === 'exit' ? 'TaskExit' : 'TaskEvent';
  const event: Message<'TaskEvent'> | Message<'TaskExit'> = decode(name, envelope.event.value);
  if ('id' in event && event.id !== event.containerId) return undefined;
  return { type, id: event.containerId };
}
