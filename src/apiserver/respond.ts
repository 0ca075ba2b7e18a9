// Answers: JSON bodies, Status objects for errors, warnings.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Status } from '../k8s/types.generated.ts';
import type { Log } from '../log/log.ts';
import { badRequest, internal, StatusError } from './schema/errors.ts';

/** The largest request body: as Kubernetes' (3 MiB). */
const maximumBody = 3 * 1024 * 1024;
/** How much of a larger body is read and thrown away, so that the sender gets to read why it was refused. */
const maximumDiscarded = 64 * 1024 * 1024;

export function sendJson(response: ServerResponse, code: number, body: unknown, type = 'application/json'): void {
  sendText(response, code, `${typeof body === 'string' ? body : JSON.stringify(body)}\n`, type);
}

export function sendText(
  response: ServerResponse,
  code: number,
  text: string | Buffer,
  type: string,
  caching: Record<string, string> = { 'cache-control': 'no-cache, private' },
): void {
  response.writeHead(code, { 'content-type': type, 'content-length': Buffer.byteLength(text), ...caching });
  response.end(text);
}

/** The Status that an error becomes. An error that is none of ours is a fault of the server: logged, and 500. */
export function statusOf(error: unknown, log: Log): Status {
  if (error instanceof StatusError) return error.status;
  log.error({ err: error }, 'a request failed by a fault of the API server');
  return internal(error instanceof Error ? error.message : String(error)).status;
}

export function sendStatus(response: ServerResponse, status: Status): void {
  const code = status.code ?? 500;
  const retry = status.details?.retryAfterSeconds;
  if (retry !== undefined) response.setHeader('retry-after', String(retry));
  if (code === 401) response.setHeader('www-authenticate', 'Bearer');
  sendJson(response, code, status);
}

/** Adds warnings for the user, which kubectl prints (RFC 7234 section 5.5, code 299). */
export function addWarnings(response: ServerResponse, warnings: readonly string[]): void {
  if (warnings.length === 0) return;
  const quote = (text: string): string =>
    `"${text.replace(/[^\x20-\x7e]/g, '?').replace(/["\\]/g, (character) => `\\${character}`)}"`;
  response.setHeader(
    'warning',
    warnings.map((text) => `299 - ${quote(text)}`),
  );
}

/** The whole body of a request. Throws 413 where it is too large. */
export async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    const data: Buffer = chunk;
    size += data.length;
    if (size <= maximumBody) chunks.push(data);
    else if (size > maximumDiscarded) break;
    else chunks.length = 0;
  }
  if (size > maximumBody) throw tooLarge();
  return chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks);
}

const tooLarge = (): StatusError =>
  new StatusError({
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    reason: 'RequestEntityTooLarge',
    code: 413,
    message: `Request entity too large: limit is ${maximumBody}`,
  });

/** A whole number of a query; undefined where absent. Throws 400 where it is something else. */
export function numberOf(query: URLSearchParams, name: string): number | undefined {
  const text = query.get(name);
  if (text === null || text === '') return undefined;
  if (!/^-?\d+$/.test(text)) throw badRequest(`strconv.ParseInt: parsing "${text}": invalid syntax`);
  return Number(text);
}
