// The long form of the tests of leases: random ADD, DEL, CHECK and GC through the real daemon and kernel, with kills.
// Usage: scripts/node bench/cni-soak.ts [CALLS]   (as root; all of it happens in namespaces of its own; 10,000 take minutes)
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type Answer, encodeCall, parseAnswer } from '../src/cni/frame.ts';
import { addressOf, Lab, runIn } from '../test/cni/lab.ts';

const calls = Number(process.argv[2] ?? 10_000);
const callsBetweenKills = 300;
const parallel = 4;

await using lab = new Lab({ clusterCidrs: ['10.244.0.0/16'], restMs: 0 });
const node = lab.addNode(['10.244.1.0/27']);
await lab.start();
/** More pods than addresses (29): the range is full now and then. */
const pods = Array.from({ length: 36 }, (_, index) => ({ id: `soak-${index}`, ...lab.addPod() }));
/** What each pod holds; absent where it holds nothing; undefined where a kill left it open. */
const model = new Map<string, string | undefined>();
const counts = { ADD: 0, DEL: 0, CHECK: 0, GC: 0, refused: 0, open: 0, kills: 0 };

function call(env: Record<string, string>, config: object = {}): Promise<Answer | undefined> {
  const stdin = JSON.stringify({ cniVersion: '1.1.0', name: 'weft', type: 'weft-cni', ...config });
  return new Promise((resolve) => {
    let output = '';
    const socket = connect(join(node.root, 'cni.sock'), () => socket.end(encodeCall({ env, stdin })));
    socket.on('data', (chunk) => {
      output += String(chunk);
    });
    socket.on('error', () => {});
    socket.on('close', () => resolve(parseAnswer(output)));
  });
}

const environment = (command: string, pod: { id: string; path: string }): Record<string, string> => ({
  CNI_COMMAND: command,
  CNI_CONTAINERID: pod.id,
  CNI_NETNS: pod.path,
  CNI_IFNAME: 'eth0',
});

/** One random call for a pod, and what it did to the model. */
async function step(pod: { id: string; path: string }): Promise<void> {
  const open = model.has(pod.id) && model.get(pod.id) === undefined;
  const command = open || Math.random() < 0.4 ? 'DEL' : Math.random() < 0.75 ? 'ADD' : 'CHECK';
  counts[command]++;
  const held = model.get(pod.id);
  const prevResult = { ips: [{ address: `${held}/27` }] };
  if (command !== 'CHECK') model.set(pod.id, undefined);
  const answer = await call(environment(command, pod), command === 'CHECK' ? { prevResult } : {});
  if (answer === undefined) counts.open++;
  else if (command === 'DEL') {
    assert.equal(answer.exitCode, 0, answer.stdout);
    model.delete(pod.id);
  } else if (command === 'CHECK')
    assert.equal(answer.exitCode === 0, held !== undefined, `${pod.id}: ${answer.stdout}`);
  else if (answer.exitCode === 0) given(pod.id, addressOf(JSON.parse(answer.stdout)));
  else refused(pod.id, held, answer.stdout);
}

function given(id: string, address: string): void {
  for (const [other, theirs] of model) assert.notEqual(theirs, address, `${id} got ${address}, which ${other} holds`);
  model.set(id, address);
}

/** Refused for one of two reasons: it has an interface already, or the range is full. */
function refused(id: string, held: string | undefined, output: string): void {
  counts.refused++;
  const { code } = JSON.parse(output);
  assert.ok(held === undefined ? code === 101 : code === 103, `${id}: ${output}`);
  if (held === undefined) model.delete(id);
  else model.set(id, held);
}

async function collect(): Promise<void> {
  counts.GC++;
  const valid = [...model.keys()].map((containerID) => ({ containerID, ifname: 'eth0' }));
  const answer = await call({ CNI_COMMAND: 'GC', CNI_PATH: '/' }, { 'cni.dev/valid-attachments': valid });
  if (answer !== undefined) assert.equal(answer.exitCode, 0, answer.stdout);
}

async function round(size: number, killAt: number): Promise<void> {
  const idle = [...pods];
  let done = 0;
  let killing: Promise<void> | undefined;
  const worker = async (): Promise<void> => {
    while (done < size && killing === undefined) {
      const [pod] = idle.splice(Math.floor(Math.random() * idle.length), 1);
      if (pod === undefined) return;
      if (++done >= killAt) killing ??= lab.kill(node);
      await step(pod);
      idle.push(pod);
    }
  };
  await Promise.all(Array.from({ length: parallel }, worker));
  await killing;
}

for (let done = 0; done < calls; done += callsBetweenKills) {
  await round(callsBetweenKills, Math.floor(callsBetweenKills * (0.5 + Math.random() / 2)));
  counts.kills++;
  await lab.start();
  await collect();
  process.stdout.write(`\r${Math.min(done + callsBetweenKills, calls)} calls, ${counts.kills} kills `);
}
for (const pod of pods) assert.equal((await call(environment('DEL', pod)))?.exitCode, 0);
assert.doesNotMatch(runIn(node.netns, 'ip', 'link'), /veth/);
assert.doesNotMatch(runIn(node.netns, 'nft', 'list', 'table', 'bridge', 'weft-cni'), /veth/);
await lab.kill(node);
const database = new DatabaseSync(join(node.root, 'state/leases.db'));
assert.deepEqual(database.prepare('SELECT * FROM lease').all(), []);
database.close();
console.log(`\nnothing doubled, nothing lost, nothing left: ${JSON.stringify(counts)}`);
