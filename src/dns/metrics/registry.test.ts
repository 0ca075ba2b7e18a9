import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Registry } from './registry.ts';

test('the page is in the text format of Prometheus', () => {
  const registry = new Registry();
  registry.counter('requests_total', 'How many.', ['name']).increment('a "b"\\\n');
  registry.gauge('names', 'How many names.').cell().value = 3;
  registry.counter('never_total', 'Nothing was counted.', ['name']);
  const sizes = registry.histogram('size_bytes', 'How large.', ['proto'], [100, 200]);
  for (const size of [50, 100, 150, 999]) sizes.observe(size, ['udp']);
  assert.equal(
    registry.page(),
    `# HELP requests_total How many.
# TYPE requests_total counter
requests_total{name="a \\"b\\"\\\\\\n"} 1
# HELP names How many names.
# TYPE names gauge
names 3
# HELP size_bytes How large.
# TYPE size_bytes histogram
size_bytes_bucket{proto="udp",le="100"} 2
size_bytes_bucket{proto="udp",le="200"} 3
size_bytes_bucket{proto="udp",le="+Inf"} 4
size_bytes_sum{proto="udp"} 1299
size_bytes_count{proto="udp"} 4
`,
  );
});
