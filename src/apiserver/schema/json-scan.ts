// What JSON.parse does not tell: fields that stand twice in one object, nesting without end, and `__proto__`.

/** What a scan of a JSON text found. */
export interface JsonScan {
  /** Paths of fields that are given more than once, as in `spec.containers[0].image`. */
  readonly duplicates: readonly string[];
  readonly tooDeep: boolean;
  /** A field is called `__proto__`: no object of Kubernetes has one, and copying it would change the copy's prototype. */
  readonly proto: boolean;
}

const quote = 34;
const backslash = 92;
const maxDepth = 1000;

interface Frame {
  /** Fields seen so far, for an object; undefined for a list. */
  readonly keys: Set<string> | undefined;
  key: string;
  index: number;
}

/** Scans a text that JSON.parse has accepted; one pass, no recursion. */
export function scanJson(text: string): JsonScan {
  const frames: Frame[] = [];
  const duplicates: string[] = [];
  let proto = false;
  let expectKey = false;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === quote) {
      const end = endOfString(text, at);
      const frame = frames.at(-1);
      if (expectKey && frame?.keys) {
        const key = keyOf(text, at, end);
        if (key === '__proto__') proto = true;
        frame.key = key;
        if (frame.keys.has(key)) duplicates.push(pathOf(frames));
        else frame.keys.add(key);
        expectKey = false;
      }
      at = end;
    } else if (code === 123) {
      frames.push({ keys: new Set(), key: '', index: 0 });
      expectKey = true;
      if (frames.length > maxDepth) return { duplicates, tooDeep: true, proto };
    } else if (code === 91) {
      frames.push({ keys: undefined, key: '', index: 0 });
      expectKey = false;
      if (frames.length > maxDepth) return { duplicates, tooDeep: true, proto };
    } else if (code === 125 || code === 93) {
      frames.pop();
      expectKey = false;
    } else if (code === 44) {
      const frame = frames.at(-1);
      if (frame) frame.index++;
      expectKey = frame?.keys !== undefined;
    }
  }
  return { duplicates, tooDeep: false, proto };
}

function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end >= 0; end = text.indexOf('"', end + 1)) {
    let slashes = 0;
    while (text.charCodeAt(end - 1 - slashes) === backslash) slashes++;
    if (slashes % 2 === 0) return end;
  }
  return text.length;
}

function keyOf(text: string, start: number, end: number): string {
  const raw = text.slice(start + 1, end);
  if (!raw.includes('\\')) return raw;
  const parsed: unknown = JSON.parse(`"${raw}"`);
  return typeof parsed === 'string' ? parsed : raw;
}

function pathOf(frames: readonly Frame[]): string {
  let path = '';
  for (const frame of frames) {
    if (frame.keys) path += path === '' ? frame.key : `.${frame.key}`;
    else path += `[${frame.index}]`;
  }
  return path;
}
