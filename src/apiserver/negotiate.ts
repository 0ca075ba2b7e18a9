// Which form of an answer a client asks for by its Accept header: JSON as it is, a table, or metadata only.
import { notAcceptable } from './schema/errors.ts';

export type Form =
  | { readonly as: 'object' }
  | { readonly as: 'table'; readonly version: string }
  | { readonly as: 'metadata'; readonly list: boolean; readonly version: string };

interface MediaRange {
  readonly type: string;
  readonly parameters: ReadonlyMap<string, string>;
}

function parseAccept(header: string): MediaRange[] {
  return header.split(',').map((part) => {
    const [type = '', ...parameters] = part.split(';').map((text) => text.trim());
    const pairs = parameters.map((text): [string, string] => {
      const at = text.indexOf('=');
      return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
    });
    return { type: type.toLowerCase(), parameters: new Map(pairs) };
  });
}

const json = new Set(['application/json', '*/*', 'application/*', '']);

/**
 * The first form in the Accept header that the server has. Protobuf and CBOR are not offered as answers: a client that
 * names only those gets 406, as one of Kubernetes that has no encoder for them would answer.
 */
export function negotiate(header: string | undefined): Form {
  if (header === undefined || header === '') return { as: 'object' };
  for (const { type, parameters } of parseAccept(header)) {
    if (!json.has(type)) continue;
    const as = parameters.get('as');
    if (as === undefined) return { as: 'object' };
    const version = parameters.get('v') ?? 'v1';
    if (parameters.get('g') !== 'meta.k8s.io' || !['v1', 'v1beta1'].includes(version)) continue;
    if (as === 'Table') return { as: 'table', version };
    if (as === 'PartialObjectMetadata') return { as: 'metadata', list: false, version };
    if (as === 'PartialObjectMetadataList') return { as: 'metadata', list: true, version };
  }
  throw notAcceptable([
    'application/json',
    'application/json;as=Table;v=v1;g=meta.k8s.io',
    'application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io',
  ]);
}

/** The discovery form that the client prefers: aggregated v2, aggregated v2beta1 or plain. */
export function negotiateDiscovery(header: string | undefined): 'v2' | 'v2beta1' | 'plain' {
  for (const { type, parameters } of parseAccept(header ?? '')) {
    if (!json.has(type)) continue;
    const as = parameters.get('as');
    if (as === undefined) return 'plain';
    const version = parameters.get('v');
    if (as !== 'APIGroupDiscoveryList' || parameters.get('g') !== 'apidiscovery.k8s.io') continue;
    if (version === 'v2' || version === 'v2beta1') return version;
  }
  return 'plain';
}
