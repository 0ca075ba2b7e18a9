// events.k8s.io/v1: the second view of the events that are stored as core/v1, with other names for some fields.
import type { Kind } from './kinds.ts';
import { once } from './kinds.ts';
import type { ApiObject } from './object.ts';
import type { KindSchema } from './schema/types.ts';

/** Stored (core/v1) field name → name in events.k8s.io/v1 (k8s.io/api, events/v1 types). */
const names: Readonly<Record<string, string>> = {
  message: 'note',
  involvedObject: 'regarding',
  source: 'deprecatedSource',
  firstTimestamp: 'deprecatedFirstTimestamp',
  lastTimestamp: 'deprecatedLastTimestamp',
  count: 'deprecatedCount',
  reportingComponent: 'reportingController',
};
const storedNames = Object.fromEntries(Object.entries(names).map(([stored, viewed]) => [viewed, stored]));

function renamed(object: ApiObject, table: Readonly<Record<string, string>>, apiVersion: string): ApiObject {
  const out: ApiObject = { apiVersion, kind: 'Event', metadata: object.metadata };
  for (const [field, value] of Object.entries(object)) {
    if (field !== 'apiVersion' && field !== 'kind' && field !== 'metadata') out[table[field] ?? field] = value;
  }
  return out;
}

/** The stored event as events.k8s.io/v1 shows it. */
const viewEvent = (stored: ApiObject): ApiObject => renamed(stored, names, 'events.k8s.io/v1');

/** An event of events.k8s.io/v1 as it is stored. */
const storeEvent = (object: ApiObject): ApiObject => renamed(object, storedNames, 'v1');

export function eventsView(schemaOf: (definition: string) => KindSchema): Kind {
  const definition = 'io.k8s.api.events.v1.Event';
  return {
    group: 'events.k8s.io',
    version: 'v1',
    kind: 'Event',
    plural: 'events',
    singular: 'event',
    namespaced: true,
    shortNames: ['ev'],
    categories: [],
    subresources: [],
    storage: '/events',
    definition,
    schema: once(() => schemaOf(definition)),
    generation: false,
    view: { read: viewEvent, write: storeEvent },
  };
}
