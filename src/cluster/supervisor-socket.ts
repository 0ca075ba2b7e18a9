// The supervisor's socket: lines of JSON. Processes of the cluster hold a connection to it; the command line asks it.
import { connect, createServer, type Server, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { Progress, type ProgressEvent } from './progress.ts';

/** What the supervisor says about itself and what it watches. */
export interface SupervisorStatus {
  readonly ready: boolean;
  readonly pid: number;
  readonly apiPort: number;
  readonly processes: readonly { readonly name: string; readonly pid?: number; readonly restarts: number }[];
  readonly nodePorts: readonly NodePortForward[];
}

/** A NodePort of the cluster (or the port of a load balancer that has none) and the port of the host's loopback that leads to it. */
export interface NodePortForward {
  readonly service: string;
  readonly protocol: 'TCP' | 'UDP';
  readonly nodePort: number;
  /** Where the port is, for a load balancer without a NodePort. */
  readonly address?: string;
  /** Absent where the protocol is not forwarded. */
  readonly hostPort?: number;
}

export interface SupervisorDuties {
  status(): SupervisorStatus;
  follow(listener: (event: ProgressEvent) => void): () => void;
  /** A process of the cluster has connected. */
  connected(name: string): void;
  /** A process of the cluster has gone away. */
  lost(name: string): void;
  /** Adds a node, and tells how far it is and how it ended. */
  addNode(progress: Progress): Promise<void>;
  removeNode(name: string, force: boolean, progress: Progress): Promise<void>;
}

interface Request {
  readonly type?: unknown;
  readonly name?: unknown;
  readonly force?: unknown;
}

export function createSupervisorServer(duties: SupervisorDuties): Server {
  return createServer((socket) => {
    socket.on('error', () => socket.destroy());
    const lines = createInterface({ input: socket });
    lines.on('error', () => {});
    lines.on('line', (line) => answer(socket, line, duties));
  });
}

function answer(socket: Socket, line: string, duties: SupervisorDuties): void {
  const send = (value: unknown): void => void socket.write(`${JSON.stringify(value)}\n`);
  const request = parseRequest(line);
  if (request.type === 'status') {
    send(duties.status());
  } else if (request.type === 'follow') {
    socket.on('close', duties.follow(send));
  } else if (request.type === 'guard' && typeof request.name === 'string') {
    const { name } = request;
    duties.connected(name);
    socket.on('close', () => duties.lost(name));
  } else if (request.type === 'add-node') {
    void duties.addNode(toldTo(send));
  } else if (request.type === 'remove-node' && typeof request.name === 'string') {
    void duties.removeNode(request.name, request.force === true, toldTo(send));
  } else {
    socket.destroy();
  }
}

function toldTo(send: (event: ProgressEvent) => void): Progress {
  const progress = new Progress();
  progress.follow(send);
  return progress;
}

function parseRequest(line: string): Request {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? value : {};
  } catch {
    return {};
  }
}

/** The answer of a cluster's supervisor; undefined where none listens there. */
export async function askSupervisor(path: string): Promise<SupervisorStatus | undefined> {
  for await (const value of exchange(path, { type: 'status' })) return value as SupervisorStatus;
  return undefined;
}

/** The progress of a cluster's start, from its beginning; ends when the supervisor goes away. */
export async function* followProgress(path: string): AsyncGenerator<ProgressEvent> {
  for await (const value of exchange(path, { type: 'follow' })) yield value as ProgressEvent;
}

/** Asks for a node more, or for one less. Tells the steps; throws where it fails. */
export async function askForNodes(
  path: string,
  request:
    | { readonly type: 'add-node' }
    | { readonly type: 'remove-node'; readonly name: string; readonly force: boolean },
  tell: (text: string, ms: number) => void,
): Promise<void> {
  for await (const value of exchange(path, request)) {
    const event = value as ProgressEvent;
    if (event.type === 'ready') return;
    if (event.type === 'failed') throw new Error(event.message);
    tell(event.text, event.ms);
  }
  throw new Error('the supervisor has gone away; look at ./weft status');
}

/** Lines of the supervisor's answer. It is the same program: what it says is trusted. */
async function* exchange(path: string, request: unknown): AsyncGenerator<unknown> {
  const socket = connect(path);
  try {
    const open = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true));
      socket.once('error', () => resolve(false));
    });
    if (!open) return;
    socket.on('error', () => {});
    socket.write(`${JSON.stringify(request)}\n`);
    for await (const line of createInterface({ input: socket })) yield JSON.parse(line);
  } finally {
    socket.destroy();
  }
}
