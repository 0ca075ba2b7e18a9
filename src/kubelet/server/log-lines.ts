// The log format of the container runtime interface: `<RFC 3339 time with nanoseconds> <stream> <tags> <content>`.
// The tag P marks a piece of a line that goes on in the next entry, F the end of a line.

export interface LogOptions {
  readonly follow: boolean;
  readonly timestamps: boolean;
  /** Only the last so many lines of the file. */
  readonly tailLines?: number | undefined;
  /** Nothing older than this moment. */
  readonly since?: Date | undefined;
  /** Not more than so many bytes of answer. */
  readonly limitBytes?: number | undefined;
  readonly stream?: 'stdout' | 'stderr' | undefined;
}

export interface LogEntry {
  /** As written, with nanoseconds. */
  readonly time: string;
  readonly stream: string;
  readonly partial: boolean;
  readonly content: Buffer;
}

const space = 0x20;

/** One line of the file without its newline; undefined for what is not in the format. */
export function parseLogEntry(line: Buffer): LogEntry | undefined {
  const first = line.indexOf(space);
  const second = line.indexOf(space, first + 1);
  const third = line.indexOf(space, second + 1);
  if (first <= 0 || second < 0) return undefined;
  const tags = line.toString('latin1', second + 1, third < 0 ? line.length : third);
  return {
    time: line.toString('latin1', 0, first),
    stream: line.toString('latin1', first + 1, second),
    partial: tags.split(':')[0] === 'P',
    content: third < 0 ? Buffer.alloc(0) : line.subarray(third + 1),
  };
}

/**
 * Turns the bytes of log files into what `kubectl logs` prints. Call it piece by piece; the bytes after the last
 * newline wait for the next piece. `done` becomes true when limitBytes is reached.
 */
export function createLogFormatter(options: LogOptions): { format(chunk: Buffer): Buffer; readonly done: boolean } {
  let pending: Buffer = Buffer.alloc(0);
  let left = options.limitBytes ?? Number.POSITIVE_INFINITY;
  let lineStart = true;
  const show = (entry: LogEntry): Buffer[] => {
    if (options.stream !== undefined && entry.stream !== options.stream) return [];
    if (options.since !== undefined && new Date(entry.time) < options.since) return [];
    const parts = options.timestamps && lineStart ? [Buffer.from(`${entry.time} `), entry.content] : [entry.content];
    lineStart = !entry.partial;
    return entry.partial ? parts : [...parts, Buffer.from('\n')];
  };
  return {
    format(chunk) {
      const data = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
      const shown: Buffer[] = [];
      let at = 0;
      for (let end = data.indexOf(0x0a); end >= 0; end = data.indexOf(0x0a, at)) {
        const entry = parseLogEntry(data.subarray(at, end));
        at = end + 1;
        if (entry !== undefined) shown.push(...show(entry));
      }
      pending = Buffer.from(data.subarray(at));
      const text = Buffer.concat(shown).subarray(0, left);
      left -= text.length;
      return text;
    },
    get done() {
      return left <= 0;
    },
  };
}

/**
 * The log options in a query (meta: core/v1 PodLogOptions), or why they are wrong.
 * The clock is given so that sinceSeconds can become a moment.
 */
export function parseLogOptions(query: URLSearchParams, now: Date): LogOptions | { readonly error: string } {
  const number = (name: string, least: number): number | undefined => {
    const text = query.get(name);
    if (text === null || text === '') return undefined;
    const value = Number(text);
    if (!Number.isSafeInteger(value) || value < least)
      throw new RangeError(`${name}: Invalid value: "${text}": must be an integer of at least ${least}`);
    return value;
  };
  const flag = (name: string) => ['1', 'true'].includes(query.get(name) ?? '');
  try {
    const sinceSeconds = number('sinceSeconds', 1);
    const sinceTime = query.get('sinceTime');
    if (sinceSeconds !== undefined && sinceTime)
      throw new RangeError('at most one of `sinceTime` or `sinceSeconds` may be specified');
    const since = sinceTime ? new Date(sinceTime) : undefined;
    if (since && Number.isNaN(since.getTime()))
      throw new RangeError(`sinceTime: Invalid value: "${sinceTime}": must be an RFC 3339 time`);
    const stream = (query.get('stream') ?? 'All').toLowerCase();
    if (stream !== 'all' && stream !== 'stdout' && stream !== 'stderr')
      throw new RangeError(
        `stream: Unsupported value: "${query.get('stream')}": supported values: All, Stdout, Stderr`,
      );
    return {
      follow: flag('follow'),
      timestamps: flag('timestamps'),
      tailLines: number('tailLines', 0),
      limitBytes: number('limitBytes', 1),
      since: sinceSeconds === undefined ? since : new Date(now.getTime() - sinceSeconds * 1000),
      stream: stream === 'all' ? undefined : stream,
    };
  } catch (error) {
    if (error instanceof RangeError) return { error: error.message };
    throw error;
  }
}
