// What the kubelet's HTTPS API (server/) asks of the kubelet: pods with their containers, and streams into containers.
import type { Pod } from '../k8s/types.generated.ts';

/** Which of the standard streams a session wants. */
export interface StreamOptions {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly tty: boolean;
}

/** Streams into containers. Each answers with the runtime's streaming URL: plain HTTP on the node's loopback, speaking SPDY. */
export interface RuntimeStreams {
  exec(containerId: string, command: readonly string[], options: StreamOptions): Promise<string>;
  attach(containerId: string, options: StreamOptions): Promise<string>;
  portForward(sandboxId: string, ports: readonly number[]): Promise<string>;
  /** Tells the runtime to open the log file anew (after a rotation). */
  reopenContainerLog(containerId: string): Promise<void>;
}

/** One instance of a container, as the runtime has it; the dead ones are there too, for `logs --previous`. */
export interface PodContainer {
  /** The name in the pod's spec. */
  readonly name: string;
  /** The runtime's id, without the `containerd://` before it. */
  readonly id: string;
  readonly state: 'created' | 'running' | 'exited' | 'unknown';
  /** Absolute path of the CRI log file. */
  readonly logPath: string;
  /** How often this container has been created before in this pod: the highest one is the current instance. */
  readonly attempt: number;
}

/** A pod of this node together with what runs for it. */
export interface PodInstance {
  readonly pod: Pod;
  /** The sandbox that is up; absent before it is there and after it has stopped. */
  readonly sandboxId?: string | undefined;
  /** All instances of all containers, the newest attempt of each first. */
  readonly containers: readonly PodContainer[];
}

export interface PodSource {
  findPod(namespace: string, name: string): PodInstance | undefined;
  pods(): readonly Pod[];
}
