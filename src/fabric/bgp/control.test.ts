// The client of BIRD's control socket, against a server that speaks as BIRD does.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { BirdControl, BirdError } from './control.ts';

async function withBird(
  answer: (command: string, socket: Socket) => void,
  work: (control: BirdControl) => Promise<void>,
) {
  const folder = mkdtempSync('/tmp/weft-bird-');
  const server = createServer((socket) => {
    socket.write('0001 BIRD 2.0.12 ready.\n');
    socket.on('data', (data) => answer(data.toString().trim(), socket));
    socket.on('error', () => {});
  }).listen(join(folder, 'ctl'));
  await once(server, 'listening');
  try {
    const control = await BirdControl.connect(join(folder, 'ctl'));
    await work(control);
    control.close();
    await control.closed;
  } finally {
    server.close();
    rmSync(folder, { recursive: true });
  }
}

test('a reply is all its lines, also where they come in pieces, and what is told unasked is left out', async () => {
  await withBird(
    (_, socket) => {
      socket.write('1000-BIRD 2.0.12\n1011-Rou');
      setImmediate(() => socket.write('ter ID is 1.2.3.4\n+ something happened\n Hostname is x\n0013 Daemon is up\n'));
    },
    async (control) => {
      assert.deepEqual(await control.command('show status'), [
        { code: 1000, text: 'BIRD 2.0.12' },
        { code: 1011, text: 'Router ID is 1.2.3.4' },
        { code: 1011, text: 'Hostname is x' },
        { code: 13, text: 'Daemon is up' },
      ]);
    },
  );
});

test('commands that follow one another get their own replies', async () => {
  await withBird(
    (text, socket) => {
      for (const command of text.split('\n')) socket.write(`0000 ${command}\n`);
    },
    async (control) => {
      const replies = await Promise.all(['a', 'b', 'c'].map((command) => control.command(command)));
      assert.deepEqual(
        replies.map(([line]) => line?.text),
        ['a', 'b', 'c'],
      );
    },
  );
});

test('an error reply is an error with the command and the reason, and the next command goes on', async () => {
  await withBird(
    (command, socket) =>
      socket.write(command === 'configure' ? '0002-Reading\n8002 x.conf:3:1 syntax error\n' : '0000 \n'),
    async (control) => {
      await assert.rejects(control.command('configure'), /BIRD refuses 'configure': x\.conf:3:1 syntax error/);
      assert.equal((await control.command('x')).length, 1);
      await assert.rejects(control.command('a\nb'), RangeError);
    },
  );
});

test('when BIRD ends, what waits for it fails, and so does what comes after', async () => {
  await withBird(
    (_, socket) => socket.destroy(),
    async (control) => {
      await assert.rejects(control.command('show status'), BirdError);
      await control.closed;
      await assert.rejects(control.command('show status'), BirdError);
    },
  );
  await assert.rejects(BirdControl.connect('/tmp/weft-no-such-socket'), BirdError);
});
