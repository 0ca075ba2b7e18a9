import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { readCorefile } from './corefile.ts';
import { defaultCorefile } from './default.ts';

test('the default Corefile is read without a problem or a warning, with upstreams and without', async () => {
  for (const upstreams of [[], ['10.0.0.53', '[fd00::53]:5353'], ['/etc/resolv.conf']]) {
    const reading = await readCorefile(defaultCorefile({ zone: 'cluster.local', upstreams }));
    assert.deepEqual(reading.warnings, []);
    assert.equal(reading.config?.blocks[0]?.forwards[0]?.to.length, upstreams.length || undefined);
  }
  assert.throws(() => defaultCorefile({ zone: 'cluster.local', upstreams: ['10.0.0.53 {\n}'] }), /no address/);
  assert.throws(() => defaultCorefile({ zone: 'cluster.local', upstreams: ['/etc/x\n}'] }), /no path/);
});

test('the Corefile that an embedded cluster begins with says the same', async () => {
  const file = new URL('../../../deploy/dns/corefile.yaml', import.meta.url);
  const { parse } = await import('yaml');
  const written = await readCorefile(parse(readFileSync(file, 'utf8')).data.Corefile);
  const own = await readCorefile(defaultCorefile({ zone: 'cluster.local', upstreams: [] }));
  const plain = (reading: typeof own): unknown =>
    JSON.parse(JSON.stringify(reading.config?.blocks, (key, value) => (key === 'line' ? undefined : value)));
  assert.deepEqual(plain(written), plain(own));
});
