// ServiceAccount tokens: signed JWTs bound to a ServiceAccount and, where asked, to a pod.
// Claims as Kubernetes' pkg/serviceaccount/claims.go has them, so that clients and pods can read them.
import { createHash, createPrivateKey, createPublicKey, randomUUID } from 'node:crypto';

export interface TokenRequest {
  readonly serviceAccount: { readonly namespace: string; readonly name: string; readonly uid: string };
  /** For whom the token is; the API server's own audience is its issuer URL. */
  readonly audiences: readonly string[];
  /** At least ten minutes. */
  readonly expirationSeconds: number;
  /** The token ends with this pod. */
  readonly boundPod?: { readonly name: string; readonly uid: string };
}

/** What a token with a good signature says; whether its objects still exist is for the authenticator to ask. */
export interface TokenClaims {
  readonly id: string;
  readonly audiences: readonly string[];
  /** Seconds since 1970. */
  readonly expires: number;
  readonly namespace: string;
  readonly serviceAccount: { readonly name: string; readonly uid: string };
  readonly pod?: { readonly name: string; readonly uid: string };
}

export interface TokenIssuer {
  /** @throws RangeError when the token would live for less than ten minutes or more than 2^32 seconds. */
  issueToken(request: TokenRequest): Promise<{ token: string; expirationTimestamp: string }>;
}

const algorithm = 'ES256';

/** Issues tokens with this key (PEM, ECDSA P-256) in the name of the issuer. */
export function createTokenIssuer(options: { privateKey: string; issuer: string }): TokenIssuer {
  const key = createPrivateKey(options.privateKey);
  const kid = keyId(createPublicKey(options.privateKey).export({ type: 'spki', format: 'der' }));
  return {
    async issueToken({ serviceAccount, audiences, expirationSeconds, boundPod }) {
      if (expirationSeconds < 600)
        throw new RangeError('spec.expirationSeconds: may not specify a duration less than 10 minutes');
      if (expirationSeconds > 2 ** 32)
        throw new RangeError('spec.expirationSeconds: may not specify a duration larger than 2^32 seconds');
      const { SignJWT } = await import('jose');
      const now = Math.floor(Date.now() / 1000);
      const expires = now + Math.floor(expirationSeconds);
      const token = await new SignJWT({
        'kubernetes.io': {
          namespace: serviceAccount.namespace,
          ...(boundPod && { pod: { name: boundPod.name, uid: boundPod.uid } }),
          serviceaccount: { name: serviceAccount.name, uid: serviceAccount.uid },
        },
      })
        .setProtectedHeader({ alg: algorithm, kid })
        .setAudience(audiences.length > 0 ? [...audiences] : [options.issuer])
        .setIssuer(options.issuer)
        .setSubject(`system:serviceaccount:${serviceAccount.namespace}:${serviceAccount.name}`)
        .setIssuedAt(now)
        .setNotBefore(now)
        .setExpirationTime(expires)
        .setJti(randomUUID())
        .sign(key);
      return { token, expirationTimestamp: new Date(expires * 1000).toISOString().replace('.000Z', 'Z') };
    },
  };
}

/** Reads tokens that one of these keys (PEM) has signed for this issuer; undefined for every other text. */
export function createTokenReader(options: {
  keys: readonly string[];
  issuer: string;
}): (token: string) => Promise<TokenClaims | undefined> {
  const keys = new Map(
    options.keys.map((pem) => {
      const key = createPublicKey(pem);
      return [keyId(key.export({ type: 'spki', format: 'der' })), key] as const;
    }),
  );
  // A pod sends the same token with every request: the signature is checked once, the expiry every time.
  const known = new Map<string, TokenClaims>();
  return async (token) => {
    const seen = known.get(token);
    if (seen !== undefined) return seen.expires > Date.now() / 1000 ? seen : undefined;
    const { jwtVerify, errors } = await import('jose');
    try {
      const { payload } = await jwtVerify(
        token,
        ({ kid }) => {
          const key = keys.get(kid ?? '');
          if (key === undefined) throw new errors.JWKSNoMatchingKey();
          return key;
        },
        { algorithms: [algorithm], issuer: options.issuer, requiredClaims: ['exp', 'aud', 'sub'] },
      );
      const claims = readClaims(payload);
      if (claims === undefined) return undefined;
      if (known.size >= 1000) known.clear();
      known.set(token, claims);
      return claims;
    } catch (error) {
      if (error instanceof errors.JOSEError) return undefined;
      throw error;
    }
  };
}

function readClaims(payload: Record<string, unknown>): TokenClaims | undefined {
  const { jti, aud, exp } = payload;
  const own = record(payload['kubernetes.io']);
  const serviceAccount = reference(own?.serviceaccount);
  const namespace = own?.namespace;
  if (typeof namespace !== 'string' || serviceAccount === undefined || typeof exp !== 'number') return undefined;
  const pod = reference(own?.pod);
  // A bound object that cannot be read must not turn into a token that is bound to nothing.
  if (own?.pod !== undefined && pod === undefined) return undefined;
  return {
    id: typeof jti === 'string' ? jti : '',
    audiences: [aud].flat().filter((audience) => typeof audience === 'string'),
    expires: exp,
    namespace,
    serviceAccount,
    ...(pod && { pod }),
  };
}

function record(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null ? { ...value } : undefined;
}

function reference(value: unknown): { name: string; uid: string } | undefined {
  const { name, uid } = record(value) ?? {};
  return typeof name === 'string' && typeof uid === 'string' ? { name, uid } : undefined;
}

function keyId(spki: Buffer): string {
  return createHash('sha256').update(spki).digest('base64url');
}
