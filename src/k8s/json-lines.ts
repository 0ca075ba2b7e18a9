// Splits a stream of text chunks into the JSON values of its lines, as a watch sends them.

/**
 * Collects chunks of already decoded text and gives the values of the lines that are complete. A line may be spread
 * over any number of chunks. A SyntaxError where a line is not JSON.
 */
export class JsonLines {
  #pieces: string[] = [];

  push(chunk: string): unknown[] {
    const values: unknown[] = [];
    let start = 0;
    for (let end = chunk.indexOf('\n'); end >= 0; end = chunk.indexOf('\n', start)) {
      this.#pieces.push(chunk.slice(start, end));
      const line = this.#pieces.join('');
      this.#pieces = [];
      start = end + 1;
      if (line.trim() !== '') values.push(JSON.parse(line));
    }
    if (start < chunk.length) this.#pieces.push(chunk.slice(start));
    return values;
  }
}
