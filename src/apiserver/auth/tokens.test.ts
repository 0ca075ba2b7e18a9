// ServiceAccount tokens: what is issued is accepted, and nothing else.
import assert from 'node:assert/strict';
import { createPrivateKey } from 'node:crypto';
import { test } from 'node:test';
import { SignJWT } from 'jose';
import { createSigningKey } from '../../pki/pki.ts';
import { type Authenticator, createAuthenticator } from './authenticate.ts';
import { answerTokenReview } from './reviews.ts';
import { createTokenIssuer } from './tokens.ts';

const issuer = 'https://kubernetes.default.svc.cluster.local';
const keys = await createSigningKey();
const serviceAccount = { namespace: 'default', name: 'app', uid: 'sa-1' };
const boundPod = { name: 'web', uid: 'pod-1' };

function authenticator(accountUid: string | undefined = 'sa-1', podUid: string | undefined = 'pod-1'): Authenticator {
  const found = (uid: string | undefined) => (uid === undefined ? undefined : { uid });
  return createAuthenticator({
    serviceAccountKeys: [keys.publicKey],
    issuer,
    lookupServiceAccount: (namespace, name) =>
      namespace === 'default' && name === 'app' ? found(accountUid) : undefined,
    lookupPod: () => found(podUid),
  });
}

const request = { serviceAccount, audiences: [issuer], expirationSeconds: 3600, boundPod };
const issueToken = async (changes: object = {}): Promise<string> =>
  (await createTokenIssuer({ privateKey: keys.privateKey, issuer }).issueToken({ ...request, ...changes })).token;

test('a token shows the ServiceAccount, its groups and its pod', async () => {
  const found = await authenticator().authenticateToken(await issueToken());
  assert.equal(found?.user.name, 'system:serviceaccount:default:app');
  assert.equal(found?.user.uid, 'sa-1');
  assert.deepEqual(found?.user.groups, [
    'system:serviceaccounts',
    'system:serviceaccounts:default',
    'system:authenticated',
  ]);
  assert.deepEqual(found?.user.extra?.['authentication.kubernetes.io/pod-name'], ['web']);
});

test('a token ends with its ServiceAccount and with its pod', async () => {
  const token = await issueToken();
  assert.equal(await authenticator('sa-2').authenticateToken(token), undefined);
  assert.equal(await authenticator('sa-1', 'pod-2').authenticateToken(token), undefined);
});

test('a token holds for its audiences only', async () => {
  const token = await issueToken({ audiences: ['vault'] });
  assert.equal(await authenticator().authenticateToken(token), undefined);
  assert.deepEqual((await authenticator().authenticateToken(token, ['vault', 'x']))?.audiences, ['vault']);
});

test('a token of another key, of another issuer, expired or garbled is refused', async () => {
  const other = await createSigningKey();
  const foreign = await createTokenIssuer({ privateKey: other.privateKey, issuer }).issueToken(request);
  const elsewhere = await createTokenIssuer({ privateKey: keys.privateKey, issuer: 'https://x' }).issueToken(request);
  const good = await issueToken();
  const [head = '', body = '', signature = ''] = good.split('.');
  const { kid } = JSON.parse(Buffer.from(head, 'base64url').toString());
  const expired = await new SignJWT(JSON.parse(Buffer.from(body, 'base64url').toString()))
    .setProtectedHeader({ alg: 'ES256', kid })
    .setExpirationTime(1)
    .sign(createPrivateKey(keys.privateKey));
  const unsigned = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${body}.`;
  const changed = `${head}.${Buffer.from(Buffer.from(body, 'base64url').toString().replace('app', 'adm')).toString('base64url')}.${signature}`;
  for (const token of [foreign.token, elsewhere.token, expired, unsigned, changed, 'x', ''])
    assert.equal(await authenticator().authenticateToken(token), undefined);
});

test('a token lives for ten minutes at least', async () => {
  await assert.rejects(issueToken({ expirationSeconds: 599 }), /may not specify a duration less than 10 minutes/);
});

test('TokenReview says whose token it is', async () => {
  const review = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', metadata: {} } as const;
  const good = await answerTokenReview({ ...review, spec: { token: await issueToken() } }, authenticator());
  assert.equal(good.status?.authenticated, true);
  assert.equal(good.status?.user?.username, 'system:serviceaccount:default:app');
  const bad = await answerTokenReview({ ...review, spec: { token: 'x' } }, authenticator());
  assert.equal(bad.status?.authenticated, false);
});
