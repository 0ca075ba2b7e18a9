// What every pod worker of a node shares.
import type { Client } from '../../k8s/client.ts';
import type { Recorder } from '../../k8s/events.ts';
import type { Service } from '../../k8s/types.generated.ts';
import type { Log } from '../../log/log.ts';
import type { Ip } from '../../net/address.ts';
import type { ClusterResolver, Resolver } from '../container/dns.ts';
import type { Cri } from '../cri/client.ts';
import type { Images } from '../image/images.ts';
import type { Objects } from '../volume/objects.ts';
import type { Tokens } from '../volume/tokens.ts';
import type { Volumes } from '../volume/volumes.ts';
import type { BackOff } from './back-off.ts';
import type { RuntimeCache } from './runtime-cache.ts';
import type { StatusWriter } from './status-writer.ts';

export interface NodeContext {
  readonly client: Client;
  readonly cri: Cri;
  readonly cache: RuntimeCache;
  readonly images: Images;
  readonly objects: Objects;
  readonly tokens: Tokens;
  readonly volumes: Volumes;
  readonly statuses: StatusWriter;
  readonly recorder: Recorder;
  readonly restarts: BackOff;
  readonly log: Log;
  readonly nodeName: string;
  readonly hostIps: readonly Ip[];
  readonly rootDir: string;
  readonly podLogsDir: string;
  readonly cgroupRoot: string;
  readonly cluster: ClusterResolver;
  /** The node's own resolver, read when a pod starts. */
  readonly nodeResolver: () => Promise<Resolver>;
  readonly allocatable: { readonly cpu: string; readonly memory: string; readonly ephemeralStorage: string };
  readonly memoryBytes: number;
  /** The Services that pods of a namespace find in their environment. */
  readonly services: (namespace: string) => Promise<readonly Service[]>;
}
