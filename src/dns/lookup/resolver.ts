// How a resolver library takes a name apart: resolv.conf(5), and the names that it asks for one after the other. Pure.

export interface ResolverSettings {
  readonly servers: readonly string[];
  readonly search: readonly string[];
  /** A name with fewer dots is tried with the search list first. */
  readonly ndots: number;
}

/** The settings in a file in the form of resolv.conf. */
export function readResolver(text: string): ResolverSettings {
  const words = text.split('\n').map((line) =>
    line
      .replace(/[#;].*/, '')
      .trim()
      .split(/\s+/),
  );
  const last = (name: string): readonly string[] => words.findLast(([first]) => first === name)?.slice(1) ?? [];
  const ndots = words
    .flatMap(([first, ...options]) => (first === 'options' ? options : []))
    .flatMap((option) => /^ndots:(\d+)$/.exec(option)?.[1] ?? [])
    .at(-1);
  return {
    servers: words.flatMap(([first, server]) => (first === 'nameserver' && server !== undefined ? [server] : [])),
    search: last('search').map((domain) => domain.replace(/\.$/, '')),
    ndots: ndots === undefined ? 1 : Math.min(15, Number(ndots)),
  };
}

/** What the kubelet writes for a pod with dnsPolicy ClusterFirst. */
export const clusterFirst = (namespace: string, zone: string, servers: readonly string[]): ResolverSettings => ({
  servers,
  search: [`${namespace}.svc.${zone}`, `svc.${zone}`, zone],
  ndots: 5,
});

/** The names that are asked for, in their order, without the final dot (glibc's res_search). */
export function namesTried(name: string, { search, ndots }: Pick<ResolverSettings, 'search' | 'ndots'>): string[] {
  if (name.endsWith('.')) return [name.slice(0, -1)];
  const dots = name.split('.').length - 1;
  const searched = search.map((domain) => (domain === '' ? name : `${name}.${domain}`));
  return [...new Set(dots >= ndots ? [name, ...searched] : [...searched, name])];
}
