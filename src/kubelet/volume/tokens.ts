// ServiceAccount tokens for pods: asked for by TokenRequest, bound to the pod, renewed before they end.
import type { Client } from '../../k8s/client.ts';
import type { Pod, TokenRequest } from '../../k8s/types.generated.ts';

export interface TokenSource {
  readonly audience: string;
  readonly expirationSeconds: number;
}

export interface Tokens {
  /** Gets or renews all tokens that the pod's volumes show; afterwards `get` answers. */
  prepare(pod: Pod): Promise<void>;
  get(pod: Pod, source: TokenSource): string;
  /** When the first of the pod's tokens must be renewed, in milliseconds since 1970; undefined where it has none. */
  renewAt(uid: string): number | undefined;
  forget(uid: string): void;
}

interface Token {
  readonly token: string;
  readonly renewAt: number;
}

const dayMs = 24 * 3600 * 1000;

/** When to renew a token: at 80 % of its life, at the latest after a day (kubernetes pkg/kubelet/token/token_manager.go). */
export function renewalTime(issuedAt: number, expiresAt: number): number {
  return Math.min(issuedAt + (expiresAt - issuedAt) * 0.8, issuedAt + dayMs);
}

export function createTokens(client: Client, now: () => number = Date.now): Tokens {
  const tokens = new Map<string, Map<string, Token>>();
  const keyOf = ({ audience, expirationSeconds }: TokenSource): string => `${expirationSeconds} ${audience}`;

  return {
    async prepare(pod) {
      const uid = pod.metadata.uid ?? '';
      const own = tokens.get(uid) ?? new Map<string, Token>();
      tokens.set(uid, own);
      await Promise.all(
        tokenSources(pod).map(async (source) => {
          const present = own.get(keyOf(source));
          if (present !== undefined && present.renewAt > now()) return;
          own.set(keyOf(source), await requestToken(client, pod, source, now()));
        }),
      );
    },
    get(pod, source) {
      const token = tokens.get(pod.metadata.uid ?? '')?.get(keyOf(source));
      if (token === undefined) throw new Error('a token was read before it was asked for');
      return token.token;
    },
    renewAt(uid) {
      const times = [...(tokens.get(uid)?.values() ?? [])].map(({ renewAt }) => renewAt);
      return times.length === 0 ? undefined : Math.min(...times);
    },
    forget: (uid) => void tokens.delete(uid),
  };
}

function tokenSources(pod: Pod): TokenSource[] {
  return (pod.spec.volumes ?? []).flatMap(({ projected }) =>
    (projected?.sources ?? []).flatMap(({ serviceAccountToken }) =>
      serviceAccountToken === undefined
        ? []
        : [
            {
              audience: serviceAccountToken.audience ?? '',
              expirationSeconds: serviceAccountToken.expirationSeconds ?? 3600,
            },
          ],
    ),
  );
}

async function requestToken(client: Client, pod: Pod, source: TokenSource, now: number): Promise<Token> {
  const { namespace = '', name = '', uid = '' } = pod.metadata;
  const account = pod.spec.serviceAccountName || 'default';
  const request: TokenRequest = {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenRequest',
    metadata: {},
    spec: {
      audiences: source.audience === '' ? [] : [source.audience],
      expirationSeconds: source.expirationSeconds,
      boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name, uid },
    },
  };
  const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/serviceaccounts/${encodeURIComponent(account)}/token`;
  const answer = await client.request('POST', path, request);
  const { token, expirationTimestamp } = readStatus(answer);
  const expiresAt = Date.parse(expirationTimestamp);
  return {
    token,
    renewAt: renewalTime(now, Number.isNaN(expiresAt) ? now + source.expirationSeconds * 1000 : expiresAt),
  };
}

function readStatus(answer: unknown): { token: string; expirationTimestamp: string } {
  if (typeof answer === 'object' && answer !== null && 'status' in answer) {
    const { status } = answer;
    if (typeof status === 'object' && status !== null && 'token' in status && typeof status.token === 'string') {
      const expiration = 'expirationTimestamp' in status ? String(status.expirationTimestamp) : '';
      return { token: status.token, expirationTimestamp: expiration };
    }
  }
  throw new Error('the API server answered a TokenRequest without a token');
}
