// Why a connection failed, in the words of Go's net package, which `kubectl describe pod` shows everywhere else.

const reasons: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connect: connection refused',
  EHOSTUNREACH: 'connect: no route to host',
  ENETUNREACH: 'connect: network is unreachable',
};

/** `dial tcp 10.244.0.2:80: connect: connection refused`; other errors keep their own words. */
export function refusal(host: string, port: number | string, error: NodeJS.ErrnoException): string {
  const reason = reasons[error.code ?? ''];
  // Go: the server closed the connection without an answer.
  if (reason === undefined) return error.message === 'socket hang up' ? 'EOF' : error.message;
  return `dial tcp ${host.includes(':') ? `[${host.replace(/^\[|\]$/g, '')}]` : host}:${port}: ${reason}`;
}
