// Who sends this request: a client certificate, or a ServiceAccount's bearer token.
import type { IncomingMessage } from 'node:http';
import { TLSSocket } from 'node:tls';
import { createTokenReader, type TokenClaims } from './tokens.ts';
import { group, serviceAccountGroups, serviceAccountUser, type User } from './user.ts';

export { anonymous, type User } from './user.ts';

export interface AuthenticatorOptions {
  /** Public keys (PEM) of the tokens that count. */
  readonly serviceAccountKeys: readonly string[];
  /** The `iss` of the tokens, and the audience that the API server answers to. */
  readonly issuer: string;
  lookupServiceAccount(namespace: string, name: string): { uid: string } | undefined;
  lookupPod(namespace: string, name: string): { uid: string } | undefined;
}

export interface Authenticator {
  /**
   * The sender of the request; undefined where it has no credentials or bad ones (answer 401, except on the few
   * anonymous paths). The server must ask for client certificates (requestCert) and verify them against the
   * cluster's authority; here they count only when that has succeeded.
   */
  authenticate(req: IncomingMessage): Promise<User | undefined>;
  /** Whether the sender showed a certificate that the cluster's authority has not signed. */
  hasForeignCertificate(req: IncomingMessage): boolean;
  /** The ServiceAccount behind a token and for which of the wanted audiences it holds (for TokenReview). */
  authenticateToken(
    token: string,
    audiences?: readonly string[],
  ): Promise<{ user: User; audiences: readonly string[] } | undefined>;
}

/** See Authenticator. Impersonation comes after it: impersonate.ts. */
export function createAuthenticator(options: AuthenticatorOptions): Authenticator {
  const readToken = createTokenReader({ keys: options.serviceAccountKeys, issuer: options.issuer });
  // A certificate is of a connection, and costly to read: it is read once, not with each request.
  const byConnection = new WeakMap<TLSSocket, CertificateOwner>();

  const certificateOwner = (socket: TLSSocket): CertificateOwner => {
    const known = byConnection.get(socket);
    if (known !== undefined) return known;
    const owner = ownerOfCertificate(socket);
    byConnection.set(socket, owner);
    return owner;
  };

  const authenticateToken: Authenticator['authenticateToken'] = async (token, audiences = [options.issuer]) => {
    const claims = await readToken(token);
    if (claims === undefined) return undefined;
    const matching = audiences.filter((audience) => claims.audiences.includes(audience));
    if (matching.length === 0) return undefined;
    const account = options.lookupServiceAccount(claims.namespace, claims.serviceAccount.name);
    if (account?.uid !== claims.serviceAccount.uid) return undefined;
    if (claims.pod && options.lookupPod(claims.namespace, claims.pod.name)?.uid !== claims.pod.uid) return undefined;
    return { user: userOfToken(claims), audiences: matching };
  };

  return {
    authenticateToken,
    hasForeignCertificate: ({ socket }) => socket instanceof TLSSocket && certificateOwner(socket).foreign,
    async authenticate(req) {
      const fromCertificate = req.socket instanceof TLSSocket ? certificateOwner(req.socket).user : undefined;
      if (fromCertificate !== undefined) return fromCertificate;
      const token = bearerToken(req);
      return token === undefined ? undefined : (await authenticateToken(token))?.user;
    },
  };
}

/** Whose certificate a connection showed; neither where it showed none. */
interface CertificateOwner {
  readonly user: User | undefined;
  readonly foreign: boolean;
}

/**
 * CN is the user, each O is a group (Kubernetes: authentication/request/x509). `authorized` alone is not enough: a
 * resumed TLS 1.3 session without any certificate has it too.
 */
function ownerOfCertificate(socket: TLSSocket): CertificateOwner {
  const certificate = socket.getPeerCertificate();
  if (!socket.authorized) return { user: undefined, foreign: Object.keys(certificate).length > 0 };
  const { subject } = certificate;
  const name = [subject?.CN ?? []].flat().at(-1);
  if (name === undefined || name === '') return { user: undefined, foreign: false };
  return { user: { name, groups: withAuthenticated([subject?.O ?? []].flat()) }, foreign: false };
}

function userOfToken(claims: TokenClaims): User {
  return {
    name: serviceAccountUser(claims.namespace, claims.serviceAccount.name),
    uid: claims.serviceAccount.uid,
    groups: withAuthenticated(serviceAccountGroups(claims.namespace)),
    extra: {
      'authentication.kubernetes.io/credential-id': [`JTI=${claims.id}`],
      ...(claims.pod && {
        'authentication.kubernetes.io/pod-name': [claims.pod.name],
        'authentication.kubernetes.io/pod-uid': [claims.pod.uid],
      }),
    },
  };
}

export function withAuthenticated(groups: readonly string[]): readonly string[] {
  return groups.includes(group.authenticated) ? groups : [...groups, group.authenticated];
}

/** From the Authorization header, or from the WebSocket sub-protocol that browsers use in its place. */
function bearerToken(req: IncomingMessage): string | undefined {
  const header = /^Bearer +(\S+)$/i.exec(req.headers.authorization ?? '')?.[1];
  if (header !== undefined) return header;
  const prefix = 'base64url.bearer.authorization.k8s.io.';
  const protocol = (req.headers['sec-websocket-protocol'] ?? '')
    .split(',')
    .map((entry) => entry.trim())
    .find((entry) => entry.startsWith(prefix));
  return protocol === undefined ? undefined : Buffer.from(protocol.slice(prefix.length), 'base64url').toString();
}
