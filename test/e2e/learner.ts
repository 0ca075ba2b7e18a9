// The path that a learner walks: a web application and its database, deployed, looked into, connected and opened.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { cluster, kubectl, projectRoot, Terminal, until, weft } from './tools.ts';

const file = (name: string): string => join(projectRoot, 'examples/webapp', name);

/** The host's port for a NodePort, as `weft status` shows it. */
async function hostPort(service: string): Promise<number> {
  const { stdout } = await weft('status', '--name', cluster, '-o', 'json');
  const status = JSON.parse(stdout) as { nodePorts: { service: string; nodePort: number; hostPort: number }[] };
  const entry = status.nodePorts.find((one) => one.service === service);
  assert.ok(entry, `weft status shows no NodePort of ${service}`);
  return entry.hostPort;
}

export function learnerTests(): void {
  test("the learner's path: deploy, connect by Service name, open the page, store a product", async () => {
    await kubectl('apply', '-f', file('webapp.yml'));
    await kubectl('apply', '-f', file('mysql.yml'));
    assert.match(await kubectl('get', 'deployment'), /webapp-sql1\s+[01]\/1/);
    await kubectl('apply', '-f', file('webservice.yml'));
    await kubectl('apply', '-f', file('sqlservice.yml'));
    const services = await kubectl('get', 'service');
    assert.match(services, /webapp1\s+NodePort\s+\S+\s+<none>\s+80:30080\/TCP/);
    assert.match(services, /webapp-sql1\s+ClusterIP\s+\S+\s+<none>\s+3306\/TCP/);
    await kubectl('rollout', 'status', 'deployment/webapp1', '--timeout=120s');
    await kubectl('rollout', 'status', 'deployment/webapp-sql1', '--timeout=120s');
    assert.match(await kubectl('get', 'deployment'), /webapp1\s+1\/1\s+1\s+1/);
    const pods = await kubectl('get', 'pods');
    const web = /^webapp1-\S+/m.exec(pods)?.[0] ?? assert.fail(pods);
    const database = /^webapp-sql1-\S+/m.exec(pods)?.[0] ?? assert.fail(pods);
    assert.match(pods, /webapp1-\S+\s+1\/1\s+Running/);

    const page = `http://127.0.0.1:${await hostPort('default/webapp1')}/`;
    await until('the page', async () => (await fetch(page)).ok);

    const shell = new Terminal(`kubectl exec -it ${web} -- bash`);
    await shell.see(/# $/);
    shell.type(`sed -i 's/"localhost"/"webapp-sql1"/' /var/www/html/index.php; grep -c webapp-sql1 index.php`);
    await shell.see(/\D1\r\n/);
    shell.type('exit');
    assert.equal(await shell.end(), 0);

    const sql = new Terminal(`kubectl exec -it ${database} -- mysql -u root -p`);
    await sql.see(/Enter password: /);
    sql.type('weft');
    await sql.see(/> $/);
    sql.type('CREATE DATABASE ProductDetails;');
    await sql.see(/Query OK/);
    sql.type('USE ProductDetails');
    await sql.see(/Database changed/);
    sql.type('CREATE TABLE products (product_name VARCHAR(10), product_id VARCHAR(11));');
    await sql.see(/Query OK/);
    sql.type('exit');
    assert.equal(await sql.end(), 0);

    const answer = await fetch(page, {
      method: 'POST',
      body: new URLSearchParams({ product_name: 'loom', product_id: 'W-<1>' }),
    });
    assert.match(await answer.text(), /<td>loom<\/td><td>W-&lt;1&gt;<\/td>/);
    assert.match(await (await fetch(page)).text(), /<td>loom<\/td>/);
  });
}
