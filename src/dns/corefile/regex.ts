// Regular expressions of a Corefile: RE2's syntax, which is CoreDNS's, without look-around and back-references, so that
// no pattern can take long. Loaded only where a Corefile has a pattern: its tables are some megabytes.
import { RE2JS } from 're2js';
import type { RegexMatcher } from './config.ts';

/** Compiles a pattern; throws an Error that says what is wrong with it. */
export function compileRegex(source: string): RegexMatcher {
  const compiled = RE2JS.compile(source);
  return {
    source,
    match(text) {
      const matcher = compiled.matcher(text);
      if (!matcher.find()) return undefined;
      return Array.from({ length: matcher.groupCount() + 1 }, (_, index) => matcher.group(index) ?? '');
    },
  };
}
