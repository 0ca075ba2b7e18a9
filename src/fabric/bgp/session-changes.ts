// What BIRD tells unasked about its sessions, and what of it is worth an Event. Pure.

/** One change of a session: established, or no more. */
export interface SessionChange {
  readonly session: string;
  readonly up: boolean;
}

/** What a session is, as far as it was told. */
export type SessionStates = Map<string, 'up' | 'lost'>;

/**
 * The change in a line such as `mesh.node-3.4: State changed to up` (of `debug { states }`); undefined for any other.
 * On its way down a session passes several states: the first one counts.
 */
export function parseSessionChange(line: string): SessionChange | undefined {
  const match = /^([a-z0-9.:-]{1,60}): State changed to (start|up|stop|flush|down)$/.exec(line);
  const [, session, state] = match ?? [];
  return session === undefined || state === 'start' ? undefined : { session, up: state === 'up' };
}

/** Notes the change; false where nothing is new: a session that never was up cannot be lost. */
export function noteChange(states: SessionStates, { session, up }: SessionChange): boolean {
  const before = states.get(session);
  if (up ? before === 'up' : before !== 'up') return false;
  states.set(session, up ? 'up' : 'lost');
  return true;
}

/** At most this many sessions are named in one Event. */
const named = 10;

/** What to tell of the sessions that changed since the last time, in the order of their names. */
export function changesInWords(states: SessionStates, changed: Iterable<string>): { up?: string; lost?: string } {
  const sorted = [...new Set(changed)].sort();
  const list = (wanted: 'up' | 'lost'): string | undefined => {
    const names = sorted.filter((session) => states.get(session) === wanted);
    if (names.length === 0) return undefined;
    const rest = names.length > named ? ` and ${names.length - named} more` : '';
    return `${names.slice(0, named).join(', ')}${rest}`;
  };
  const [up, lost] = [list('up'), list('lost')];
  return { ...(up !== undefined && { up }), ...(lost !== undefined && { lost }) };
}
