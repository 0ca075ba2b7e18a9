// BGP communities as text (RFC 1997, RFC 8092), and the aliases that users give them. Pure.
import type { Community as CommunityObject } from '../k8s/load-balancer.ts';

declare const community: unique symbol;
/** `65000:1`, or `large:65000:1:2`; each number within its bounds. */
export type Community = string & { readonly [community]: true };

/** Well-known ones by the names that routers give them (RFC 1997, RFC 3765, RFC 7999, RFC 8326). */
const wellKnown: Readonly<Record<string, string>> = {
  'no-export': '65535:65281',
  'no-advertise': '65535:65282',
  'local-as': '65535:65283',
  'no-peer': '65535:65284',
  blackhole: '65535:666',
  'graceful-shutdown': '65535:0',
};

/** The community of that text; undefined where it is none. */
export function parseCommunity(text: string): Community | undefined {
  const plain = wellKnown[text] ?? text;
  const large = plain.startsWith('large:');
  const parts = (large ? plain.slice('large:'.length) : plain).split(':');
  const most = large ? 4_294_967_295 : 65_535;
  const numbers = parts.map((part) => (/^\d{1,10}$/.test(part) ? Number(part) : Number.NaN));
  if (parts.length !== (large ? 3 : 2) || numbers.some((number) => !(number <= most))) return undefined;
  return `${large ? 'large:' : ''}${numbers.join(':')}` as Community;
}

/** What the aliases of a namespace stand for. */
export function communityAliases(objects: readonly CommunityObject[], namespace: string): Map<string, string> {
  const own = objects.filter(({ metadata }) => metadata.namespace === namespace);
  return new Map(
    own.flatMap(({ spec }) =>
      (spec?.communities ?? []).flatMap(({ name, value }): [string, string][] =>
        name === undefined || value === undefined ? [] : [[name, value]],
      ),
    ),
  );
}
