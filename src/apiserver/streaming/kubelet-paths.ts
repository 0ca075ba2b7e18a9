// The paths of the kubelet's HTTPS API for the streaming subresources of a pod, from what the API server was asked.
// The kubelet's own names for the streams are input, output and error (kubelet/pkg/cri/streaming/remotecommand).

export type StreamKind = 'exec' | 'attach' | 'portforward';

export interface PodStream {
  readonly kind: StreamKind;
  readonly namespace: string;
  readonly pod: string;
  /** Not for port-forward, which goes to the pod. */
  readonly container?: string;
  /** The query of the request to the API server: command, stdin, stdout, stderr, tty; ports. */
  readonly query: URLSearchParams;
}

const isTrue = (value: string | null): boolean => value === '1' || value === 'true';

/** Which streams a query asks for, by the names of the API server's (stdin …) or the kubelet's API (input …). */
export function selectedStreams(query: URLSearchParams): {
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
  tty: boolean;
} {
  const either = (a: string, b: string) => isTrue(query.get(a)) || isTrue(query.get(b));
  const tty = isTrue(query.get('tty'));
  return {
    stdin: either('stdin', 'input'),
    stdout: either('stdout', 'output'),
    stderr: either('stderr', 'error') && !tty,
    tty,
  };
}

/** For example `/exec/default/web/nginx?command=ls&output=1`. */
export function kubeletStreamPath(stream: PodStream): string {
  const query = new URLSearchParams();
  const segment = stream.kind === 'portforward' ? 'portForward' : stream.kind;
  const parts = [segment, stream.namespace, stream.pod];
  if (stream.kind === 'portforward') {
    for (const port of stream.query.getAll('ports')) query.append('port', port);
  } else {
    parts.push(stream.container ?? '');
    for (const command of stream.query.getAll('command')) query.append('command', command);
    const { stdin, stdout, stderr, tty } = selectedStreams(stream.query);
    for (const [name, on] of Object.entries({ input: stdin, output: stdout, error: stderr, tty }))
      if (on) query.set(name, '1');
  }
  const text = query.toString();
  return `/${parts.map(encodeURIComponent).join('/')}${text === '' ? '' : `?${text}`}`;
}

/** What `kubectl logs` can ask for, passed on as it is; the kubelet checks the values. */
const logOptions = [
  'follow',
  'previous',
  'tailLines',
  'sinceSeconds',
  'sinceTime',
  'timestamps',
  'limitBytes',
  'stream',
] as const;

export function kubeletLogPath(namespace: string, pod: string, container: string, query: URLSearchParams): string {
  const passed = new URLSearchParams();
  for (const option of logOptions) {
    const value = query.get(option);
    if (value !== null) passed.set(option, value);
  }
  const text = passed.toString();
  const path = ['containerLogs', namespace, pod, container].map(encodeURIComponent).join('/');
  return `/${path}${text === '' ? '' : `?${text}`}`;
}
