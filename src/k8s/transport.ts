// HTTP towards an API server: connections that are kept, TLS, Unix sockets, credentials, errors as ApiError.
import { readFileSync, statSync } from 'node:fs';
import {
  type AgentOptions,
  Agent as HttpAgent,
  request as httpRequest,
  type IncomingMessage,
  type RequestOptions,
} from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { isIP } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { type ConnectionOptions, checkServerIdentity, createSecureContext } from 'node:tls';
import { ApiError } from './client.ts';
import type { Status } from './types.generated.ts';

export interface ConnectOptions {
  /** `https://host:port`; `http://` only suits tests. */
  readonly server: string;
  /** The authority that signed the server's certificate, PEM; the system's where absent. */
  readonly ca?: string;
  /** The client's certificate and key, PEM. */
  readonly cert?: string;
  readonly key?: string;
  readonly token?: string;
  /** A file with the token; read again when it has changed. */
  readonly tokenFile?: string;
  /** Dial this Unix socket in place of TCP; still TLS, and the server's name still has to match. */
  readonly socketPath?: string;
  /** The name by which the server knows this client (managedFields take it as the manager). */
  readonly userAgent?: string;
  /** Told when a cache cannot reach the server, and of errors that have no caller; one line each. */
  readonly onProblem?: (problem: string) => void;
}

export interface Exchange {
  readonly method: string;
  readonly path: string;
  readonly body?: unknown;
  readonly contentType?: string;
  readonly signal?: AbortSignal;
  /** The answer goes on for long: it gets a connection of its own. */
  readonly isWatch?: boolean;
}

export interface Transport {
  /** The answer with its body not yet read; throws ApiError for every status of 400 or more. */
  open(exchange: Exchange): Promise<IncomingMessage>;
  /** The answer's body: parsed where it is JSON, text otherwise. */
  send(exchange: Exchange): Promise<unknown>;
  close(): void;
}

/** How long an answer may take to begin, in ms; a watch answers at once and then goes on. */
const answerTimeout = 60_000;
const attempts = 5;

export function createTransport(options: ConnectOptions): Transport {
  const url = new URL(options.server);
  const secure = url.protocol === 'https:';
  const host = url.hostname.replace(/^\[|\]$/g, '');
  // What concerns TLS belongs to the agent: given with a request, Node makes a new connection for each.
  const tls: ConnectionOptions = secure
    ? {
        secureContext: createSecureContext({ ca: options.ca, cert: options.cert, key: options.key }),
        servername: isIP(host) === 0 ? host : '',
        checkServerIdentity: (_name: string, certificate: Parameters<typeof checkServerIdentity>[1]) =>
          checkServerIdentity(host, certificate),
      }
    : {};
  const agentWith = (more: AgentOptions): HttpAgent => {
    const agentOptions = { keepAlive: true, keepAliveMsecs: 15_000, ...tls, ...more };
    return secure ? new HttpsAgent(agentOptions) : new HttpAgent(agentOptions);
  };
  // A TLS handshake costs more than most requests: few connections that are kept, and watches on their own.
  const [requests, watches] = [agentWith({ maxSockets: 6, maxFreeSockets: 6 }), agentWith({ maxFreeSockets: 0 })];
  const ended = new AbortController();
  const token = tokenSource(options);
  const base = url.pathname.replace(/\/$/, '');
  const common: RequestOptions =
    options.socketPath === undefined ? { host, port: url.port } : { socketPath: options.socketPath };

  const once = (exchange: Exchange): Promise<IncomingMessage> =>
    new Promise((resolve, reject) => {
      const body = exchange.body === undefined ? undefined : Buffer.from(JSON.stringify(exchange.body));
      const bearer = token();
      const signals = exchange.signal === undefined ? [ended.signal] : [ended.signal, exchange.signal];
      const request = (secure ? httpsRequest : httpRequest)({
        ...common,
        agent: exchange.isWatch ? watches : requests,
        method: exchange.method,
        path: `${base}${exchange.path}`,
        signal: AbortSignal.any(signals),
        headers: {
          host: url.host,
          accept: 'application/json',
          'user-agent': options.userAgent ?? 'weft',
          ...(bearer !== undefined && { authorization: `Bearer ${bearer}` }),
          ...(body !== undefined && {
            'content-type': exchange.contentType ?? 'application/json',
            'content-length': body.length,
          }),
        },
      });
      const timer = setTimeout(
        () =>
          request.destroy(new Error(`${exchange.method} ${exchange.path}: no answer within ${answerTimeout / 1000} s`)),
        answerTimeout,
      );
      request.on('response', (response) => {
        clearTimeout(timer);
        resolve(response);
      });
      request.on('error', (error) => {
        clearTimeout(timer);
        reject(request.reusedSocket ? new StaleConnection(error.message, { cause: error }) : error);
      });
      request.end(body);
    });

  const open = async (exchange: Exchange): Promise<IncomingMessage> => {
    for (let attempt = 1; ; attempt++) {
      try {
        const response = await once(exchange);
        if ((response.statusCode ?? 500) < 400) return response;
        const error = apiErrorOf(response, await readText(response), exchange);
        const wait = retryAfter(response);
        if (error.code !== 429 || wait === undefined || attempt === attempts) throw error;
        await delay(wait * 1000, undefined, { signal: ended.signal });
      } catch (error) {
        // A kept connection that the server had closed meanwhile: the request did not reach it.
        if (!(error instanceof StaleConnection) || !error.neverAnswered) throw causeOf(error);
        if (attempt === attempts || exchange.signal?.aborted || ended.signal.aborted) throw causeOf(error);
      }
    }
  };

  return {
    open,
    async send(exchange) {
      const response = await open(exchange);
      const text = await readText(response);
      return response.headers['content-type']?.includes('json') === true && text !== '' ? JSON.parse(text) : text;
    },
    close() {
      ended.abort(new Error('the client of the API server was closed'));
      requests.destroy();
      watches.destroy();
    },
  };
}

/** An error on a connection that had served an earlier request. */
class StaleConnection extends Error {
  get neverAnswered(): boolean {
    const { cause } = this;
    return cause instanceof Error && 'code' in cause && (cause.code === 'ECONNRESET' || cause.code === 'EPIPE');
  }
}

function causeOf(error: unknown): unknown {
  return error instanceof StaleConnection ? error.cause : error;
}

/** The whole body of an answer as text. */
async function readText(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

function retryAfter(response: IncomingMessage): number | undefined {
  const seconds = Number(response.headers['retry-after']);
  return Number.isFinite(seconds) ? Math.min(Math.max(seconds, 0), 10) : undefined;
}

/** The Status that the server sent, or one made of its text where it sent none. */
function apiErrorOf(response: IncomingMessage, text: string, exchange: Exchange): ApiError {
  const code = response.statusCode ?? 500;
  const parsed = readStatus(text);
  if (parsed !== undefined) return new ApiError({ ...parsed, code: parsed.code ?? code });
  const detail = text.trim().slice(0, 200) || response.statusMessage || '';
  return new ApiError({
    apiVersion: 'v1',
    kind: 'Status',
    metadata: {},
    status: 'Failure',
    code,
    message: `${exchange.method} ${exchange.path}: the API server answered ${code} ${detail}`,
  });
}

/** The Status in a text, where it is one. */
function readStatus(text: string): Status | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isStatus(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

export function isStatus(value: unknown): value is Status {
  return typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'Status';
}

/** The bearer token of now: the given one, or the file's, read again when its modification time has changed. */
function tokenSource({ token, tokenFile }: ConnectOptions): () => string | undefined {
  if (tokenFile === undefined) return () => token;
  let read = { text: '', at: Number.NEGATIVE_INFINITY, modified: -1 };
  return () => {
    if (performance.now() - read.at < 10_000) return read.text;
    const modified = statSync(tokenFile).mtimeMs;
    const text = modified === read.modified ? read.text : readFileSync(tokenFile, 'utf8').trim();
    read = { text, at: performance.now(), modified };
    return text;
  };
}
