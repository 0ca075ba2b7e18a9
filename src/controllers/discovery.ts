// Which kinds the API server serves, custom ones included, for the controllers that look after objects of every kind.

import type { Client } from '../k8s/client.ts';
import { isRecord } from '../k8s/json.ts';
import { apiVersionOf, type KubeObject, type Resource } from '../k8s/object.ts';
import type { APIGroupList, APIResourceList } from '../k8s/types.generated.ts';

export interface DiscoveredResource extends Resource<KubeObject> {
  readonly verbs: readonly string[];
}

/** Events are views of one another, and nothing owns or is owned by them. */
const ignoredGroups = new Set(['events.k8s.io']);

/** All top-level resources in the preferred version of each group. */
export async function discover(client: Client): Promise<DiscoveredResource[]> {
  const groups = (await client.request('GET', '/apis')) as APIGroupList;
  const versions = groups.groups
    .filter(({ name }) => !ignoredGroups.has(name))
    .map(({ name, preferredVersion, versions: [first] }) => ({
      group: name,
      version: (preferredVersion ?? first)?.version ?? 'v1',
    }));
  const lists = await Promise.all(
    [{ group: '', version: 'v1' }, ...versions].map(async ({ group, version }) => {
      const path = group === '' ? `/api/${version}` : `/apis/${group}/${version}`;
      const list: unknown = await client.request('GET', path);
      return { group, version, resources: isRecord(list) ? (list as unknown as APIResourceList).resources : [] };
    }),
  );
  return lists.flatMap(({ group, version, resources }) =>
    resources
      .filter(({ name }) => !name.includes('/'))
      .map(({ name, kind, namespaced, verbs }) => ({ group, version, plural: name, kind, namespaced, verbs })),
  );
}

/** The discovered resource that an owner reference names. */
export function resourceFor(
  discovered: readonly DiscoveredResource[],
  { apiVersion, kind }: { readonly apiVersion: string; readonly kind: string },
): DiscoveredResource | undefined {
  const exact = discovered.find((each) => each.kind === kind && apiVersionOf(each) === apiVersion);
  // Another version of the same group shows the same objects.
  const group = apiVersion.includes('/') ? apiVersion.split('/')[0] : '';
  return exact ?? discovered.find((each) => each.kind === kind && each.group === group);
}
