// What BIRD of a node says about itself, asked over its control socket.
import { type Ip, parseIp } from '../../net/address.ts';
import { BirdControl, type ReplyLine } from './control.ts';
import { parseSessions, type SessionStatus } from './sessions.ts';

export interface SpeakerStatus {
  /** BIRD's version. */
  readonly version: string;
  readonly routerId?: Ip;
  readonly sessions: readonly SessionStatus[];
}

/** Undefined where no BIRD answers at that socket. */
export async function readSpeakerStatus(controlSocket: string): Promise<SpeakerStatus | undefined> {
  let control: BirdControl;
  try {
    control = await BirdControl.connect(controlSocket);
  } catch {
    return undefined;
  }
  try {
    const own = await control.command('show status');
    const sessions = parseSessions(await control.command('show protocols all'));
    const routerId = parseIp(find(own, /^Router ID is (\S+)/));
    return { version: find(own, /^BIRD (\S+)/), ...(routerId !== undefined && { routerId }), sessions };
  } finally {
    control.close();
  }
}

function find(lines: readonly ReplyLine[], pattern: RegExp): string {
  for (const { text } of lines) {
    const found = pattern.exec(text)?.[1];
    if (found !== undefined) return found;
  }
  return '';
}
