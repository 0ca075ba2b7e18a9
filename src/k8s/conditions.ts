// Conditions in a status: reading one, setting one with its transition time.

interface AnyCondition {
  readonly type: string;
  readonly status: string;
  readonly reason?: string;
  readonly message?: string;
  readonly lastTransitionTime?: string;
}

export function conditionOf<C extends { type: string }>(
  conditions: readonly C[] | undefined,
  type: string,
): C | undefined {
  return conditions?.find((condition) => condition.type === type);
}

export function isConditionTrue(
  conditions: readonly { type: string; status: string }[] | undefined,
  type: string,
): boolean {
  return conditionOf(conditions, type)?.status === 'True';
}

/**
 * The conditions with this one in place of that of its type. lastTransitionTime stays while the status does; the same
 * array comes back where nothing but a time would change.
 */
export function withCondition<C extends AnyCondition>(conditions: readonly C[] | undefined, next: C): readonly C[] {
  const old = conditionOf(conditions, next.type);
  if (conditions === undefined || old === undefined) return [...(conditions ?? []), next];
  if (old.status === next.status && old.reason === next.reason && old.message === next.message) return conditions;
  const merged =
    old.status === next.status && old.lastTransitionTime !== undefined
      ? { ...next, lastTransitionTime: old.lastTransitionTime }
      : next;
  return conditions.map((condition) => (condition.type === next.type ? merged : condition));
}

/** Now as Kubernetes writes times: whole seconds, UTC. */
export function formatTime(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
}
