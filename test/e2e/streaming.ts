// exec, attach, cp, logs and port-forward, over WebSockets and over SPDY.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { apply, kubeconfig, kubectl, run, Terminal, until } from './tools.ts';

const protocols: readonly { readonly name: string; readonly env: Readonly<Record<string, string>> }[] = [
  { name: 'WebSockets', env: {} },
  { name: 'SPDY', env: { KUBECTL_REMOTE_COMMAND_WEBSOCKETS: 'false', KUBECTL_PORT_FORWARD_WEBSOCKETS: 'false' } },
];

export function streamingTests(): void {
  test('a pod to talk to', async () => {
    await apply(
      JSON.stringify({
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: 'talk' },
        spec: {
          terminationGracePeriodSeconds: 0,
          containers: [
            {
              name: 'main',
              image: 'weft.local/busybox:1',
              stdin: true,
              command: ['sh', '-c', 'echo started; while read line; do echo "heard $line"; done; sleep 3600'],
            },
            {
              name: 'web',
              image: 'weft.local/busybox:1',
              command: ['sh', '-c', 'echo page > /index.html; exec httpd -f -p 8080 -h /'],
            },
          ],
        },
      }),
    );
    await kubectl('wait', '--for=condition=Ready', 'pod/talk', '--timeout=60s');
  });

  for (const { name, env } of protocols) {
    test(`exec over ${name} carries output, errors, the exit code, and standard input to its end`, async () => {
      const both = await run(
        'kubectl',
        ['exec', 'talk', '-c', 'main', '--', 'sh', '-c', 'echo out; echo err >&2; exit 7'],
        { env },
      );
      assert.deepEqual([both.code, both.stdout], [7, 'out\n'], both.stderr);
      assert.match(both.stderr, /^err\n/);
      const data = randomBytes(3 << 20);
      const sum = await run('kubectl', ['exec', '-i', 'talk', '-c', 'main', '--', 'sha256sum'], { env, input: data });
      assert.equal(sum.stdout.split(' ')[0], createHash('sha256').update(data).digest('hex'), sum.stderr);
    });

    test(`exec -it over ${name} is a terminal`, async () => {
      const shell = new Terminal(
        `env ${Object.entries(env)
          .map(([key, value]) => `${key}=${value}`)
          .join(' ')} kubectl exec -it talk -c main -- sh`,
      );
      await shell.see(/# /);
      shell.type('test -t 0 && echo it is a terminal');
      await shell.see(/\nit is a terminal/);
      shell.type('exit 3');
      assert.equal(await shell.end(), 3);
    });

    test(`cp over ${name} brings files there and back`, async () => {
      const [there, back] = [join(dirname(kubeconfig), 'there'), join(dirname(kubeconfig), 'back')];
      writeFileSync(there, randomBytes(1 << 20));
      const to = await run('kubectl', ['cp', there, 'talk:/tmp/file', '-c', 'main'], { env });
      assert.equal(to.code, 0, to.stderr);
      const from = await run('kubectl', ['cp', 'talk:/tmp/file', back, '-c', 'main'], { env });
      assert.equal(from.code, 0, from.stderr);
      assert.deepEqual(readFileSync(back), readFileSync(there));
    });

    test(`port-forward over ${name} reaches the pod's port`, async () => {
      const forward = spawn('kubectl', ['port-forward', 'pod/talk', ':8080'], {
        env: { ...process.env, KUBECONFIG: kubeconfig, ...env },
      });
      try {
        let output = '';
        forward.stdout.on('data', (chunk: Buffer) => {
          output += chunk.toString();
        });
        const port = await until('the forwarded port', async () => /127\.0\.0\.1:(\d+)/.exec(output)?.[1]);
        for (let round = 0; round < 3; round++) {
          assert.equal(await (await fetch(`http://127.0.0.1:${port}/index.html`)).text(), 'page\n');
        }
      } finally {
        forward.kill();
      }
    });
  }

  test('attach hears what the container says, and logs -f follows it', async () => {
    const follow = spawn('kubectl', ['logs', '-f', 'talk', '-c', 'main'], {
      env: { ...process.env, KUBECONFIG: kubeconfig },
    });
    let followed = '';
    follow.stdout.on('data', (chunk: Buffer) => {
      followed += chunk.toString();
    });
    const attach = spawn('kubectl', ['attach', '-i', 'talk', '-c', 'main'], {
      env: { ...process.env, KUBECONFIG: kubeconfig },
    });
    let attached = '';
    attach.stdout.on('data', (chunk: Buffer) => {
      attached += chunk.toString();
    });
    try {
      await until(
        'an answer',
        async () => {
          attach.stdin.write('hello\n');
          return attached.includes('heard hello');
        },
        15,
      );
      await until('the followed log', async () => /started\n(heard hello\n)+/.test(followed), 15);
    } finally {
      follow.kill();
      attach.kill();
    }
    assert.match(await kubectl('logs', 'talk', '-c', 'main', '--tail=1'), /^heard hello\n$/);
    assert.match(
      await kubectl('logs', 'talk', '-c', 'main', '--timestamps', '--tail=1'),
      /^\d{4}-\d\d-\d\dT[\d:.]+\S* heard hello\n$/,
    );
  });

  test('what cannot be streamed is refused with a reason', async () => {
    const container = await run('kubectl', ['exec', 'talk', '-c', 'nosuch', '--', 'true']);
    assert.match(container.stderr, /container nosuch (is not valid for pod talk|not found)/);
    const missing = await run('kubectl', ['exec', 'talk', '-c', 'main', '--', 'nosuch']);
    assert.notEqual(missing.code, 0);
    assert.match(missing.stderr, /executable file not found/);
    const logs = await run('kubectl', ['logs', 'nosuch']);
    assert.match(logs.stderr, /pods "nosuch" not found/);
    await kubectl('delete', 'pod', 'talk');
  });
}
