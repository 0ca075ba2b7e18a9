// The API server: TLS, who may do what, and the way of each request to its answer.
import { chmodSync, rmSync } from 'node:fs';
import { type IncomingMessage, ServerResponse, STATUS_CODES } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Status } from '../k8s/types.generated.ts';
import type { Log } from '../log/log.ts';
import type { Cidr, Ip } from '../net/address.ts';
import { ServiceAddresses } from './admission/service-addresses.ts';
import type { Api, Call } from './api.ts';
import { anonymous, createAuthenticator, type User } from './auth/authenticate.ts';
import { type Attributes, authorize, forbiddenMessage } from './auth/authorize.ts';
import { impersonate } from './auth/impersonate.ts';
import { createTokenIssuer } from './auth/tokens.ts';
import { bootstrap } from './bootstrap.ts';
import { followDefinitions } from './custom-resources.ts';
import { dispatch, type Services } from './dispatch.ts';
import { Documents } from './documents/documents.ts';
import { shelves } from './kinds.ts';
import { negotiate } from './negotiate.ts';
import { createPolicySource } from './policy.ts';
import { Registry } from './registry.ts';
import { parseRequest, type RequestInfo } from './request.ts';
import { sendStatus, statusOf } from './respond.ts';
import { badRequest, forbidden, StatusError, unauthorized } from './schema/errors.ts';
import { followServiceAddresses } from './service-ip-addresses.ts';
import { Storage } from './storage.ts';
import { isStream, type Upgrade } from './subresources/streams.ts';
import { keepTidy } from './tidy.ts';
import { Watches } from './watch.ts';

export interface ApiServerOptions {
  /** The SQLite file that holds all objects; made where it is not there. */
  readonly dataFile: string;
  readonly listen: readonly ({ readonly host: string; readonly port: number } | { readonly path: string })[];
  /** The server's certificate and key, and the authority of client certificates (PEM). */
  readonly tls: { readonly cert: string; readonly key: string; readonly clientCa: string };
  readonly serviceAccount: { readonly privateKey: string; readonly publicKey: string; readonly issuer: string };
  /** One range, or one of each family: the first is that of single-stack Services. */
  readonly serviceCidrs: readonly Cidr[];
  readonly nodePortRange?: { readonly from: number; readonly to: number };
  /** Where pods and nodes reach the server: the endpoints of the `kubernetes` Service. */
  readonly advertise: { readonly addresses: readonly Ip[]; readonly port: number };
  /** The server's identity towards kubelets, and the authority of theirs (PEM). */
  readonly kubelet: { readonly ca: string; readonly cert: string; readonly key: string };
  readonly log: Log;
}

export interface ApiServer {
  /** Ends all watches and connections, then closes the store. */
  stop(): Promise<void>;
  /** Where the first TCP listener listens. */
  readonly address: { readonly port: number } | undefined;
}

/** Paths that need no credentials: what tells that the server is there. */
const anonymousPaths = new Set(['/healthz', '/livez', '/readyz', '/version']);

/** Starts the server; it resolves when every listener listens and the cluster's first objects are there. */
export async function startApiServer(options: ApiServerOptions): Promise<ApiServer> {
  const { log } = options;
  const storage = new Storage(options.dataFile);
  const api: Api = {
    storage,
    registry: new Registry(),
    addresses: new ServiceAddresses(storage, options.serviceCidrs, options.nodePortRange),
    policy: createPolicySource(storage),
    log,
    now: () => new Date(),
  };
  followDefinitions(api);
  followServiceAddresses(api);
  bootstrap(api, { serviceCidrs: options.serviceCidrs, ...options.advertise });
  const endTidying = keepTidy(api);
  const uidOf = (shelf: string, namespace: string, name: string): { uid: string } | undefined => {
    const uid = storage.get(shelf, namespace, name)?.metadata.uid;
    return uid === undefined ? undefined : { uid };
  };
  const { privateKey, publicKey, issuer } = options.serviceAccount;
  const services: Services = {
    api,
    watches: new Watches(),
    authenticator: createAuthenticator({
      serviceAccountKeys: [publicKey],
      issuer,
      lookupServiceAccount: (namespace, name) => uidOf(shelves.serviceAccounts, namespace, name),
      lookupPod: (namespace, name) => uidOf(shelves.pods, namespace, name),
    }),
    tokens: createTokenIssuer({ privateKey, issuer }),
    issuer,
    kubelet: options.kubelet,
  };
  const handler = new Handler(services, new Documents(api.registry));
  const servers: Server[] = [];
  try {
    for (const where of options.listen) servers.push(await listen(options, where, handler));
  } catch (error) {
    for (const server of servers) server.close();
    storage.close();
    throw error;
  }
  return {
    address: servers.map((server) => server.address()).find(isTcp),
    async stop() {
      services.watches.stop();
      endTidying();
      const closed = servers.map((server) => new Promise((resolve) => server.close(resolve)));
      for (const server of servers) server.closeAllConnections();
      handler.closeUpgraded();
      await Promise.all(closed);
      storage.close();
    },
  };
}

const isTcp = (address: AddressInfo | string | null): address is AddressInfo =>
  typeof address === 'object' && address !== null;

async function listen(
  { tls, log }: ApiServerOptions,
  where: ApiServerOptions['listen'][number],
  handler: Handler,
): Promise<Server> {
  const server = createServer({
    cert: tls.cert,
    key: tls.key,
    ca: tls.clientCa,
    requestCert: true,
    // A bad certificate is answered with 401, as Kubernetes does, not with a broken connection.
    rejectUnauthorized: false,
    minVersion: 'TLSv1.2',
    ALPNProtocols: ['http/1.1'],
    keepAliveTimeout: 90_000,
    requestTimeout: 0,
    shouldUpgradeCallback: upgrades,
  });
  server.on('request', (request, response) => void handler.request(request, response));
  server.on('upgrade', (request, socket, head) => void handler.upgrade(request, socket, head));
  server.on('tlsClientError', (error) => log.debug({ err: error }, 'a TLS handshake failed'));
  if ('path' in where) rmSync(where.path, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(where, resolve);
  });
  if ('path' in where) chmodSync(where.path, 0o600);
  return server;
}

/** Only sessions with pods and proxies change the protocol; any other Upgrade header is passed over, as RFC 9110 allows. */
function upgrades(request: IncomingMessage): boolean {
  const url = new URL(request.url ?? '/', 'https://localhost');
  const info = parseRequest(request.method ?? 'GET', url.pathname, url.searchParams);
  return info.type === 'resource' && (isStream(info.subresource) || info.subresource === 'proxy');
}

/** The answer to an Upgrade request that is refused, on a connection that the HTTP server has let go of. */
function refuseUpgrade(socket: Duplex, status: Status): void {
  const code = status.code ?? 500;
  const body = JSON.stringify(status);
  socket.end(
    [
      `HTTP/1.1 ${code} ${STATUS_CODES[code] ?? 'Error'}`,
      'Content-Type: application/json',
      `Content-Length: ${Buffer.byteLength(body)}`,
      'Connection: close',
      '',
      body,
    ].join('\r\n'),
  );
}

/** The way of a request: who, what, whether it may, the answer. */
class Handler {
  readonly #services: Services;
  readonly #documents: Documents;
  readonly #upgraded = new Set<Duplex>();

  constructor(services: Services, documents: Documents) {
    this.#services = services;
    this.#documents = documents;
  }

  async request(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      await this.#answer(request, response, undefined);
    } catch (error) {
      this.#fail(request, response, error);
    }
  }

  async upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#upgraded.delete(socket));
    this.#upgraded.add(socket);
    try {
      // The session writes to the connection itself: this response is never sent.
      await this.#answer(request, new ServerResponse(request), { socket, head });
    } catch (error) {
      refuseUpgrade(socket, statusOf(error, this.#services.api.log));
    }
  }

  closeUpgraded(): void {
    for (const socket of this.#upgraded) socket.destroy();
  }

  #fail(request: IncomingMessage, response: ServerResponse, error: unknown): void {
    const status = statusOf(error, this.#services.api.log);
    if (response.headersSent) {
      response.destroy();
      return;
    }
    // What is left of a body that was not read would be taken for the next request.
    if (!request.complete) response.setHeader('connection', 'close');
    sendStatus(response, status);
  }

  async #answer(request: IncomingMessage, response: ServerResponse, upgrade: Upgrade | undefined): Promise<void> {
    const url = new URL(request.url ?? '/', 'https://localhost');
    const info = parseRequest(request.method ?? 'GET', url.pathname, url.searchParams);
    const sender = await this.#sender(request, url.pathname);
    const user = this.#allowed(request, sender, info, url.searchParams);
    if (info.type === 'other') {
      this.#documents.answer(info.path, url.searchParams, request, response);
      return;
    }
    const call: Call = {
      info,
      query: url.searchParams,
      user,
      form: upgrade === undefined && info.subresource !== 'log' ? negotiate(request.headers.accept) : { as: 'object' },
      request,
      response,
    };
    await dispatch(this.#services, call, upgrade);
  }

  /** Who sends the request. Throws 401 where that is not known and the path needs it. */
  async #sender(request: IncomingMessage, path: string): Promise<User> {
    const { authenticator } = this.#services;
    const user = authenticator.hasForeignCertificate(request) ? undefined : await authenticator.authenticate(request);
    if (user !== undefined) return user;
    if (anonymousPaths.has(path) && request.headers.authorization === undefined) return anonymous;
    throw unauthorized();
  }

  /** As whom the request is done. Throws 403 where that user may not. */
  #allowed(request: IncomingMessage, sender: User, info: RequestInfo, query: URLSearchParams): User {
    const { policy } = this.#services.api;
    const result = impersonate(sender, request.headers, policy);
    if ('invalid' in result) throw badRequest(result.invalid);
    if ('forbidden' in result)
      throw new StatusError({ ...forbidden({ group: '', resource: '' }, '', '').status, message: result.forbidden });
    const attributes = attributesOf(info, query);
    const decision = authorize(result.user, attributes, policy);
    if (decision.allowed) return result.user;
    const resource =
      'path' in attributes ? { group: '', resource: '' } : { group: attributes.group, resource: attributes.resource };
    const name = 'path' in attributes ? '' : (attributes.name ?? '');
    const { status } = forbidden(resource, name, '');
    throw new StatusError({ ...status, message: forbiddenMessage(result.user, attributes, decision.reason) });
  }
}

/** What is asked for, as access rules see it. */
function attributesOf(info: RequestInfo, query: URLSearchParams): Attributes {
  if (info.type === 'other') return { verb: info.verb, path: info.path };
  const { verb, group, plural, subresource, name, namespace } = info;
  const selected = /(?:^|,)metadata\.name==?([^,]+)/.exec(query.get('fieldSelector') ?? '')?.[1];
  const named = name || (verb === 'list' || verb === 'watch' ? selected : undefined);
  return {
    verb,
    group,
    resource: plural,
    ...(subresource === '' ? {} : { subresource }),
    ...(named ? { name: named } : {}),
    ...(namespace === '' ? {} : { namespace }),
  };
}
