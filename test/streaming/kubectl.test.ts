// exec, attach, cp's tar, logs and port-forward with the real kubectl, over WebSocket and over SPDY.
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, get } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { close, endedId, type FakeCluster, listen, startFakeCluster } from './fake-cluster.ts';

interface Result {
  readonly code: number | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

let cluster: FakeCluster;

before(async () => {
  cluster = await startFakeCluster();
});
after(() => cluster.stop());

const modes = {
  WebSocket: { KUBECTL_REMOTE_COMMAND_WEBSOCKETS: 'true', KUBECTL_PORT_FORWARD_WEBSOCKETS: 'true' },
  SPDY: { KUBECTL_REMOTE_COMMAND_WEBSOCKETS: 'false', KUBECTL_PORT_FORWARD_WEBSOCKETS: 'false' },
};

function start(mode: object, args: readonly string[]): ChildProcess & { stdin: NodeJS.WritableStream } {
  const environment = { ...process.env, ...mode, KUBECONFIG: cluster.kubeconfig, HOME: cluster.folder };
  const child = spawn('kubectl', args, { env: environment, stdio: ['pipe', 'pipe', 'pipe'] });
  child.stdin.on('error', () => {});
  return child;
}

async function kubectl(mode: object, args: readonly string[], input: Buffer | string = ''): Promise<Result> {
  const child = start(mode, args);
  const stdout: Buffer[] = [];
  let stderr = '';
  child.stdout?.on('data', (data: Buffer) => stdout.push(data));
  child.stderr?.on('data', (data: Buffer) => {
    stderr += data.toString();
  });
  child.stdin.end(input);
  const [code] = await once(child, 'close');
  return { code, stdout: Buffer.concat(stdout), stderr };
}

const digest = (data: Buffer) => createHash('sha256').update(data).digest('hex');

/** kubectl prefers WebSockets for exec since 1.30 and for port-forward since 1.31; Debian's is older. */
function speaksWebSocket(): boolean {
  const version = JSON.parse(execFileSync('kubectl', ['version', '--client', '-o', 'json']).toString());
  return Number.parseInt(version.clientVersion.minor, 10) >= 31;
}
const skipped = { WebSocket: !speaksWebSocket() && 'this kubectl does not speak WebSocket', SPDY: false } as const;

for (const name of ['WebSocket', 'SPDY'] as const) {
  const mode = modes[name];
  describe(`over ${name}`, { skip: skipped[name] }, () => {
    test('exec gives the output, the errors and the exit code of the command', async () => {
      cluster.upgrades.length = 0;
      const result = await kubectl(mode, ['exec', 'web', '--', 'sh', '-c', 'echo out; echo err >&2; exit 7']);
      assert.equal(result.stdout.toString(), 'out\n');
      assert.match(result.stderr, /^err\n/m);
      assert.match(result.stderr, /command terminated with exit code 7/);
      assert.equal(result.code, 7);
      assert.deepEqual(cluster.upgrades, [name === 'SPDY' ? 'POST SPDY/3.1' : 'GET websocket']);
    });

    test('exec -i passes a megabyte of input up to its end', async () => {
      const input = randomBytes(1024 * 1024);
      const result = await kubectl(mode, ['exec', '-i', 'web', '--', 'cat'], input);
      assert.equal(result.code, 0, result.stderr);
      assert.equal(digest(result.stdout), digest(input));
    });

    test('a large output arrives whole', async () => {
      const result = await kubectl(mode, ['exec', 'web', '--', 'sh', '-c', 'head -c 20000000 /dev/zero']);
      assert.equal(result.code, 0, result.stderr);
      assert.equal(result.stdout.length, 20_000_000);
    });

    test('attach -i reaches the main process', async () => {
      const result = await kubectl(mode, ['attach', '-i', 'web'], 'typed\n');
      assert.equal(result.stdout.toString(), 'typed\n');
    });

    test('a container that does not run is named in the error', async () => {
      const result = await kubectl(mode, ['exec', 'web', '-c', 'other', '--', 'true']);
      assert.equal(result.code, 1);
      assert.match(result.stderr, /container other is not valid for pod web|container not found \("other"\)/);
      const [running] = cluster.containers.splice(0);
      const stopped = await kubectl(mode, ['exec', 'web', '--', 'true']);
      if (running) cluster.containers.push(running);
      assert.match(stopped.stderr, /unable to upgrade connection: container not found \("main"\)/);
    });

    test('what the runtime refuses is said in its words', async () => {
      const [running] = cluster.containers.splice(0);
      assert.ok(running);
      cluster.containers.push({ ...running, id: endedId });
      const result = await kubectl(mode, ['attach', 'web']);
      cluster.containers.splice(0, 1, running);
      assert.match(result.stderr, /desc = container is in CONTAINER_EXITED state/);
    });

    test('port-forward carries several connections both ways', async () => {
      const pages = createServer((req, res) => {
        req.resume();
        res.end(`page ${req.url}${'x'.repeat(100_000)}`);
      });
      const port = await listen(pages);
      const child = start(mode, ['port-forward', 'pod/web', `:${port}`]);
      try {
        const [line] = await once(child.stdout ?? child, 'data');
        const local = /127\.0\.0\.1:(\d+)/.exec(String(line))?.[1];
        const fetched = await Promise.all(['/a', '/b', '/c'].map((path) => fetchText(Number(local), path)));
        assert.deepEqual(
          fetched.map((text) => [text.slice(0, 7), text.length]),
          ['/a', '/b', '/c'].map((path) => [`page ${path}`, 100_007]),
        );
      } finally {
        child.kill();
        await once(child, 'close');
        await close(pages);
      }
    });
  });
}

test('logs are printed, and a missing previous container is a clear error', async () => {
  const logs = await kubectl({}, ['logs', 'web']);
  assert.equal(logs.stdout.toString(), 'hello\n');
  const previous = await kubectl({}, ['logs', 'web', '--previous']);
  assert.match(previous.stderr, /previous terminated container "main" in pod "web" not found/);
});

function fetchText(port: number, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    get({ host: '127.0.0.1', port, path, agent: false }, (res) => {
      let text = '';
      res.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      res.on('end', () => resolve(text));
    }).on('error', reject);
  });
}
