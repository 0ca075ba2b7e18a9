// The messages and methods of CRI v1 and of containerd's event service that the kubelet uses, as data: the wire codec
// and the TypeScript types both come from it. Numbers are those of kubernetes/cri-api pkg/apis/runtime/v1/api.proto and
// of containerd api/services/events/v1/events.proto, api/events/task.proto, api/services/tasks/v1/tasks.proto and
// api/types/task/task.proto.

/** The first value of each is number 0, the next 1 and so on. */
export const enums = {
  Protocol: ['TCP', 'UDP', 'SCTP'],
  MountPropagation: ['PROPAGATION_PRIVATE', 'PROPAGATION_HOST_TO_CONTAINER', 'PROPAGATION_BIDIRECTIONAL'],
  NamespaceMode: ['POD', 'CONTAINER', 'NODE', 'TARGET'],
  ProfileType: ['RuntimeDefault', 'Unconfined', 'Localhost'],
  PodSandboxState: ['SANDBOX_READY', 'SANDBOX_NOTREADY'],
  ServingStatus: ['UNKNOWN', 'SERVING', 'NOT_SERVING', 'SERVICE_UNKNOWN'],
  ContainerState: ['CONTAINER_CREATED', 'CONTAINER_RUNNING', 'CONTAINER_EXITED', 'CONTAINER_UNKNOWN'],
  TaskStatus: ['UNKNOWN', 'CREATED', 'RUNNING', 'STOPPED', 'PAUSED', 'PAUSING'],
} as const;

/** Each field: its type (a scalar, an enum, a message, any of them with [] for a list, or `map`) and its number. */
export const messages = {
  VersionRequest: { version: ['string', 1] },
  VersionResponse: { runtimeName: ['string', 2], runtimeVersion: ['string', 3], runtimeApiVersion: ['string', 4] },
  StatusRequest: { verbose: ['bool', 1] },
  RuntimeCondition: { type: ['string', 1], status: ['bool', 2], reason: ['string', 3], message: ['string', 4] },
  RuntimeStatus: { conditions: ['RuntimeCondition[]', 1] },
  StatusResponse: { status: ['RuntimeStatus', 1] },

  DNSConfig: { servers: ['string[]', 1], searches: ['string[]', 2], options: ['string[]', 3] },
  PortMapping: {
    protocol: ['Protocol', 1],
    containerPort: ['int32', 2],
    hostPort: ['int32', 3],
    hostIp: ['string', 4],
  },
  NamespaceOption: {
    network: ['NamespaceMode', 1],
    pid: ['NamespaceMode', 2],
    ipc: ['NamespaceMode', 3],
    targetId: ['string', 4],
  },
  Int64Value: { value: ['int64', 1] },
  SecurityProfile: { profileType: ['ProfileType', 1], localhostRef: ['string', 2] },
  LinuxSandboxSecurityContext: {
    namespaceOptions: ['NamespaceOption', 1],
    runAsUser: ['Int64Value', 3],
    readonlyRootfs: ['bool', 4],
    supplementalGroups: ['int64[]', 5],
    privileged: ['bool', 6],
    runAsGroup: ['Int64Value', 8],
    seccomp: ['SecurityProfile', 9],
  },
  LinuxPodSandboxConfig: {
    cgroupParent: ['string', 1],
    securityContext: ['LinuxSandboxSecurityContext', 2],
    sysctls: ['map', 3],
  },
  PodSandboxMetadata: { name: ['string', 1], uid: ['string', 2], namespace: ['string', 3], attempt: ['uint32', 4] },
  PodSandboxConfig: {
    metadata: ['PodSandboxMetadata', 1],
    hostname: ['string', 2],
    logDirectory: ['string', 3],
    dnsConfig: ['DNSConfig', 4],
    portMappings: ['PortMapping[]', 5],
    labels: ['map', 6],
    annotations: ['map', 7],
    linux: ['LinuxPodSandboxConfig', 8],
  },
  RunPodSandboxRequest: { config: ['PodSandboxConfig', 1], runtimeHandler: ['string', 2] },
  RunPodSandboxResponse: { podSandboxId: ['string', 1] },
  StopPodSandboxRequest: { podSandboxId: ['string', 1] },
  RemovePodSandboxRequest: { podSandboxId: ['string', 1] },
  Empty: {},
  PodSandboxStatusRequest: { podSandboxId: ['string', 1], verbose: ['bool', 2] },
  PodIP: { ip: ['string', 1] },
  PodSandboxNetworkStatus: { ip: ['string', 1], additionalIps: ['PodIP[]', 2] },
  PodSandboxStatus: {
    id: ['string', 1],
    metadata: ['PodSandboxMetadata', 2],
    state: ['PodSandboxState', 3],
    createdAt: ['int64', 4],
    network: ['PodSandboxNetworkStatus', 5],
    labels: ['map', 7],
    annotations: ['map', 8],
  },
  PodSandboxStatusResponse: { status: ['PodSandboxStatus', 1] },
  PodSandboxFilter: { id: ['string', 1], labelSelector: ['map', 3] },
  ListPodSandboxRequest: { filter: ['PodSandboxFilter', 1] },
  PodSandbox: {
    id: ['string', 1],
    metadata: ['PodSandboxMetadata', 2],
    state: ['PodSandboxState', 3],
    createdAt: ['int64', 4],
    labels: ['map', 5],
    annotations: ['map', 6],
  },
  ListPodSandboxResponse: { items: ['PodSandbox[]', 1] },

  ImageSpec: { image: ['string', 1], annotations: ['map', 2] },
  KeyValue: { key: ['string', 1], value: ['string', 2] },
  Mount: {
    containerPath: ['string', 1],
    hostPath: ['string', 2],
    readonly: ['bool', 3],
    selinuxRelabel: ['bool', 4],
    propagation: ['MountPropagation', 5],
  },
  LinuxContainerResources: {
    cpuPeriod: ['int64', 1],
    cpuQuota: ['int64', 2],
    cpuShares: ['int64', 3],
    memoryLimitInBytes: ['int64', 4],
    oomScoreAdj: ['int64', 5],
  },
  Capability: { addCapabilities: ['string[]', 1], dropCapabilities: ['string[]', 2] },
  LinuxContainerSecurityContext: {
    capabilities: ['Capability', 1],
    privileged: ['bool', 2],
    namespaceOptions: ['NamespaceOption', 3],
    runAsUser: ['Int64Value', 5],
    runAsUsername: ['string', 6],
    readonlyRootfs: ['bool', 7],
    supplementalGroups: ['int64[]', 8],
    noNewPrivs: ['bool', 11],
    runAsGroup: ['Int64Value', 12],
    maskedPaths: ['string[]', 13],
    readonlyPaths: ['string[]', 14],
    seccomp: ['SecurityProfile', 15],
  },
  LinuxContainerConfig: {
    resources: ['LinuxContainerResources', 1],
    securityContext: ['LinuxContainerSecurityContext', 2],
  },
  ContainerMetadata: { name: ['string', 1], attempt: ['uint32', 2] },
  Device: { containerPath: ['string', 1], hostPath: ['string', 2], permissions: ['string', 3] },
  ContainerConfig: {
    metadata: ['ContainerMetadata', 1],
    image: ['ImageSpec', 2],
    command: ['string[]', 3],
    args: ['string[]', 4],
    workingDir: ['string', 5],
    envs: ['KeyValue[]', 6],
    mounts: ['Mount[]', 7],
    devices: ['Device[]', 8],
    labels: ['map', 9],
    annotations: ['map', 10],
    logPath: ['string', 11],
    stdin: ['bool', 12],
    stdinOnce: ['bool', 13],
    tty: ['bool', 14],
    linux: ['LinuxContainerConfig', 15],
  },
  CreateContainerRequest: {
    podSandboxId: ['string', 1],
    config: ['ContainerConfig', 2],
    sandboxConfig: ['PodSandboxConfig', 3],
  },
  CreateContainerResponse: { containerId: ['string', 1] },
  StartContainerRequest: { containerId: ['string', 1] },
  StopContainerRequest: { containerId: ['string', 1], timeout: ['int64', 2] },
  RemoveContainerRequest: { containerId: ['string', 1] },
  ContainerFilter: { id: ['string', 1], podSandboxId: ['string', 3], labelSelector: ['map', 4] },
  ListContainersRequest: { filter: ['ContainerFilter', 1] },
  Container: {
    id: ['string', 1],
    podSandboxId: ['string', 2],
    metadata: ['ContainerMetadata', 3],
    image: ['ImageSpec', 4],
    imageRef: ['string', 5],
    state: ['ContainerState', 6],
    createdAt: ['int64', 7],
    labels: ['map', 8],
    annotations: ['map', 9],
  },
  ListContainersResponse: { containers: ['Container[]', 1] },
  ContainerStatusRequest: { containerId: ['string', 1], verbose: ['bool', 2] },
  ContainerStatus: {
    id: ['string', 1],
    metadata: ['ContainerMetadata', 2],
    state: ['ContainerState', 3],
    createdAt: ['int64', 4],
    startedAt: ['int64', 5],
    finishedAt: ['int64', 6],
    exitCode: ['int32', 7],
    image: ['ImageSpec', 8],
    imageRef: ['string', 9],
    reason: ['string', 10],
    message: ['string', 11],
    labels: ['map', 12],
    annotations: ['map', 13],
    mounts: ['Mount[]', 14],
    logPath: ['string', 15],
  },
  ContainerStatusResponse: { status: ['ContainerStatus', 1] },
  ReopenContainerLogRequest: { containerId: ['string', 1] },
  ExecSyncRequest: { containerId: ['string', 1], cmd: ['string[]', 2], timeout: ['int64', 3] },
  ExecSyncResponse: { stdout: ['bytes', 1], stderr: ['bytes', 2], exitCode: ['int32', 3] },
  ExecRequest: {
    containerId: ['string', 1],
    cmd: ['string[]', 2],
    tty: ['bool', 3],
    stdin: ['bool', 4],
    stdout: ['bool', 5],
    stderr: ['bool', 6],
  },
  AttachRequest: {
    containerId: ['string', 1],
    stdin: ['bool', 2],
    tty: ['bool', 3],
    stdout: ['bool', 4],
    stderr: ['bool', 5],
  },
  PortForwardRequest: { podSandboxId: ['string', 1], port: ['int32[]', 2] },
  StreamResponse: { url: ['string', 1] },

  ListImagesRequest: {},
  Image: {
    id: ['string', 1],
    repoTags: ['string[]', 2],
    repoDigests: ['string[]', 3],
    size: ['uint64', 4],
    uid: ['Int64Value', 5],
    username: ['string', 6],
  },
  ListImagesResponse: { images: ['Image[]', 1] },
  ImageStatusRequest: { image: ['ImageSpec', 1], verbose: ['bool', 2] },
  ImageStatusResponse: { image: ['Image', 1] },
  AuthConfig: {
    username: ['string', 1],
    password: ['string', 2],
    auth: ['string', 3],
    serverAddress: ['string', 4],
    identityToken: ['string', 5],
    registryToken: ['string', 6],
  },
  PullImageRequest: { image: ['ImageSpec', 1], auth: ['AuthConfig', 2], sandboxConfig: ['PodSandboxConfig', 3] },
  PullImageResponse: { imageRef: ['string', 1] },

  SubscribeRequest: { filters: ['string[]', 1] },
  Any: { typeUrl: ['string', 1], value: ['bytes', 2] },
  Envelope: { namespace: ['string', 2], topic: ['string', 3], event: ['Any', 4] },
  HealthCheckRequest: { service: ['string', 1] },
  HealthCheckResponse: { status: ['ServingStatus', 1] },

  ListTasksRequest: { filter: ['string', 1] },
  Process: { id: ['string', 2], status: ['TaskStatus', 4] },
  ListTasksResponse: { tasks: ['Process[]', 1] },
  TaskEvent: { containerId: ['string', 1] },
  TaskExit: { containerId: ['string', 1], id: ['string', 2], pid: ['uint32', 3], exitStatus: ['uint32', 4] },
} as const;

/** Each method: the message it takes and the message it answers with. */
export const methods = {
  'runtime.v1.RuntimeService': {
    Version: ['VersionRequest', 'VersionResponse'],
    Status: ['StatusRequest', 'StatusResponse'],
    RunPodSandbox: ['RunPodSandboxRequest', 'RunPodSandboxResponse'],
    StopPodSandbox: ['StopPodSandboxRequest', 'Empty'],
    RemovePodSandbox: ['RemovePodSandboxRequest', 'Empty'],
    PodSandboxStatus: ['PodSandboxStatusRequest', 'PodSandboxStatusResponse'],
    ListPodSandbox: ['ListPodSandboxRequest', 'ListPodSandboxResponse'],
    CreateContainer: ['CreateContainerRequest', 'CreateContainerResponse'],
    StartContainer: ['StartContainerRequest', 'Empty'],
    StopContainer: ['StopContainerRequest', 'Empty'],
    RemoveContainer: ['RemoveContainerRequest', 'Empty'],
    ListContainers: ['ListContainersRequest', 'ListContainersResponse'],
    ContainerStatus: ['ContainerStatusRequest', 'ContainerStatusResponse'],
    ReopenContainerLog: ['ReopenContainerLogRequest', 'Empty'],
    ExecSync: ['ExecSyncRequest', 'ExecSyncResponse'],
    Exec: ['ExecRequest', 'StreamResponse'],
    Attach: ['AttachRequest', 'StreamResponse'],
    PortForward: ['PortForwardRequest', 'StreamResponse'],
  },
  'runtime.v1.ImageService': {
    ListImages: ['ListImagesRequest', 'ListImagesResponse'],
    ImageStatus: ['ImageStatusRequest', 'ImageStatusResponse'],
    PullImage: ['PullImageRequest', 'PullImageResponse'],
  },
  'containerd.services.tasks.v1.Tasks': {
    List: ['ListTasksRequest', 'ListTasksResponse'],
  },
} as const;

type Enums = typeof enums;
type Messages = typeof messages;
export type MessageName = keyof Messages;

interface Scalars {
  string: string;
  bool: boolean;
  int32: number;
  int64: number;
  uint32: number;
  uint64: number;
  bytes: Buffer;
}

type Decoded<T> = T extends `${infer U}[]`
  ? readonly Decoded<U>[]
  : T extends 'map'
    ? Readonly<Record<string, string>>
    : T extends keyof Scalars
      ? Scalars[T]
      : T extends keyof Enums
        ? Enums[T][number]
        : T extends MessageName
          ? Message<T> | null
          : never;

type TypeOf<F> = F extends readonly [infer T, number] ? T : never;

/** A message as it is read from the wire: every field is there, absent messages are null. 64-bit numbers lose precision past 2^53. */
export type Message<N extends MessageName> = { readonly [F in keyof Messages[N]]: Item<TypeOf<Messages[N][F]>> };

type Item<T> = T extends `${infer U}[]` ? readonly NonNullable<Decoded<U>>[] : Decoded<T>;

type Encoded<T> = T extends `${infer U}[]`
  ? readonly Encoded<U>[]
  : T extends 'map'
    ? Readonly<Record<string, string>>
    : T extends keyof Scalars
      ? Scalars[T]
      : T extends keyof Enums
        ? Enums[T][number]
        : T extends MessageName
          ? Request<T>
          : never;

/** A message to send: what is left out has its zero value. */
export type Request<N extends MessageName> = {
  readonly [F in keyof Messages[N]]?: Encoded<TypeOf<Messages[N][F]>> | undefined;
};
