// Counters of the DNS server in Prometheus' text format, under CoreDNS's names.
const names = ['NOERROR', 'FORMERR', 'SERVFAIL', 'NXDOMAIN', 'NOTIMP', 'REFUSED'];

export class Metrics {
  readonly #answers = new Map<number, number>();

  answered(code: number): void {
    this.#answers.set(code, (this.#answers.get(code) ?? 0) + 1);
  }

  /** The page; `known` is how many names the table holds. */
  text(known: number): string {
    const responses = [...this.#answers].map(
      ([code, count]) => `coredns_dns_responses_total{rcode="${names[code] ?? `RCODE${code}`}"} ${count}`,
    );
    return [
      '# TYPE coredns_dns_responses_total counter',
      ...responses,
      '# TYPE weft_dns_names gauge',
      `weft_dns_names ${known}`,
      '',
    ].join('\n');
  }
}
