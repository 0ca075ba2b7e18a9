// One question over UDP from a port of its own, which a forger would have to guess beside the id (RFC 5452).
import { createSocket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { readAnswer, type UpstreamAnswer } from './answer.ts';
import { type Asked, writeQuestion } from './question.ts';

/** Asks once. Rejects with the system's error, or when nothing came in time. */
export function askUdp(
  asked: Asked,
  to: { readonly address: string; readonly port: number },
  timeoutMs: number,
  recursionDesired = true,
): Promise<UpstreamAnswer> {
  return new Promise((resolve, reject) => {
    const query = writeQuestion(asked, recursionDesired);
    let dropped = 0;
    const socket = createSocket(isIPv6(to.address) ? 'udp6' : 'udp4');
    const end = (): void => {
      clearTimeout(timer);
      socket.close();
    };
    const fail = (error: Error): void => {
      end();
      reject(error);
    };
    const timer = setTimeout(() => fail(new Error(`no answer in ${timeoutMs} ms`)), timeoutMs);
    socket.on('error', fail);
    socket.on('message', (message) => {
      const answer = readAnswer(message, query.readUInt16BE(0), asked);
      // Anything else is a forgery, or late: the right answer may still come.
      if (answer === undefined) {
        dropped++;
        return;
      }
      end();
      resolve(dropped === 0 ? answer : { ...answer, dropped });
    });
    socket.connect(to.port, to.address, () => socket.send(query));
  });
}
